"""denoising-diffusion-pytorch: schedules, predictions, weights and loops of a third DDPM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unnoise import prediction
from unnoise.denoiser import Denoiser
from unnoise.guidance import Clip, Guided
from unnoise.loss import Denoising, MinSNR, snr
from unnoise.sampler import DDIM, Ancestral, Sampler
from unnoise.schedule import CosineBetas, Discrete, LinearBetas, SigmoidBetas
from unnoise.tensor import expand
from unnoise.times import Given

from .guided import Toy
from .harness import Case, Result, along, stored

TABLES = {"linear": LinearBetas, "cosine": CosineBetas, "sigmoid": SigmoidBetas}
PREDICTIONS = {"pred_noise": prediction.eps, "pred_x0": prediction.x0, "pred_v": prediction.v}


class Drawn:
    """Randomness that gives stored draws, by purpose."""

    def __init__(self, **draws: Tensor) -> None:
        self.draws = draws

    def to(self, device: torch.device) -> Drawn:
        return self

    def normal(self, shape: object, purpose: str, **also: object) -> Tensor:
        return self.draws[purpose]


def lucidrains(case: Case) -> Mapping[str, Result]:
    params = case.params
    if "schedule" in params:
        options = {name: params[name] for name in ("start", "end", "tau") if name in params}
        return {"betas": TABLES[params["schedule"]](params["T"], **options).betas}
    schedule = TABLES[params["beta_schedule"]](params["T"])
    denoiser = Denoiser(Toy(case.hyper["a"], case.hyper["w"]), schedule, PREDICTIONS[params["objective"]])
    return loop(case, denoiser, schedule) if "sampling_timesteps" in params else training(case, denoiser, schedule)


def training(case: Case, denoiser: Denoiser, schedule: Discrete) -> Mapping[str, Result]:
    x0, noise, t = case.inputs["x0"], case.inputs["noise"], (case.inputs["t"] + 1).double() / len(schedule)
    alpha, sigma = (expand(c, x0) for c in schedule(t))
    x_t = alpha * x0 + sigma * noise
    clipped = Guided(denoiser, Clip())(x_t, t)
    every = schedule(schedule.times)
    small = schedule.posterior(schedule.times - 1 / len(schedule), schedule.times)[2]
    c_out = denoiser.predict(*every)[1]
    # Its weights of the error of each prediction are one weight of the error of x0.
    objective = Denoising(MinSNR(case.params["gamma"]) if case.params["min_snr"] else snr)
    shared = replace(objective, offset=case.params["offset_noise_strength"])
    drawn: Any = Drawn(eps=noise, offset=expand(case.inputs["offset_noise"], x0))
    return {
        "v": alpha * noise - sigma * x0,
        "pred_x0_clipped": clipped,
        "pred_noise_clipped": (x_t - alpha * clipped) / sigma,
        "posterior_log_variance_clipped": (small**2).clamp(min=1e-20).log(),
        "loss_weight": objective.weight(*every, c_out) * c_out**2,  # of the squared error of the network's output
        "loss": objective.at(denoiser, {"x": x0}, t, drawn),
        "loss_offset": shared.at(denoiser, {"x": x0}, t, drawn),
    }


def loop(case: Case, denoiser: Denoiser, schedule: Discrete) -> Mapping[str, Result]:
    steps, n = len(schedule), case.params["sampling_timesteps"]
    sampler: Sampler = Ancestral() if n is None else DDIM(case.params["eta"])
    # index int(linspace(-1, T - 1, n + 1)), whose first, -1, is clean data: there our walk ends by denoising
    numbers = range(steps) if n is None else [int(i) for i in torch.linspace(-1, steps - 1, n + 1).double().tolist()[1:]]
    walk = Given(tuple((i + 1) / steps for i in reversed(numbers)))
    moments = sampler.walk(Guided(denoiser, Clip()), case.inputs["x_T"], walk, rng=stored(case.inputs["noises"]))
    states = torch.stack([case.inputs["x_T"], *(moment.x for moment in moments)], 1)
    return {"trajectory": along((states + 1) / 2)}
