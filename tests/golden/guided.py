"""guided-diffusion (Improved DDPM, ADM): tables, single steps and whole loops.

Index i of the reference is entry i of our table, at time (i + 1) / T; its step from index 0 ends on clean data, t = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from unnoise import prediction
from unnoise.condition import Condition
from unnoise.denoiser import Denoise, Denoiser, Time
from unnoise.guidance import Classifier, Clip, Guided
from unnoise.level import index
from unnoise.prediction import Prediction
from unnoise.sampler import DDIM, Ancestral, Sampler
from unnoise.schedule import CosineBetas, Discrete, LinearBetas
from unnoise.schedule.discrete import betas_of
from unnoise.tensor import Cond, expand
from unnoise.times import Given, Sections, Strided

from .harness import Case, Result, along, stored

TABLES: dict[str, Callable[[int], Discrete]] = {"linear": LinearBetas, "cosine": CosineBetas}
ALPHA_BARS: dict[str, Callable[[float, float], float]] = {
    "exp(-k*t)": lambda t, k: math.exp(-k * t),
    "1-t**p": lambda t, p: 1 - t**p,
}


def respaced(counts: str | list[int], schedule: Discrete) -> Given:
    """The walk's times of a respacing: all entries, "ddimN", or counts of equal sections."""
    if isinstance(counts, str) and counts.startswith("ddim"):
        return Strided()(schedule, int(counts.removeprefix("ddim")))
    listed = [int(count) for count in counts.split(",") if count] if isinstance(counts, str) else counts
    listed = listed or [len(schedule)]
    return Sections(tuple(listed))(schedule, sum(listed))


def timestep_map(walk: Given, steps: int) -> Tensor:
    return torch.tensor([round(t * steps) - 1 for t in reversed(walk)])


def schedules(case: Case) -> Mapping[str, Result]:
    params, steps = case.params, case.params["T"]
    if "alpha_bar" in params:
        signal, number = ALPHA_BARS[params["alpha_bar"]], params["k_or_p"]
        return {"betas": Discrete(betas_of(lambda t: signal(t, number), steps, params["max_beta"])).betas}
    table = TABLES[params.get("schedule") or params["base_schedule"]](steps)
    walk = respaced(params.get("section_counts", ""), table)
    return {"timestep_map": timestep_map(walk, steps), **chain(table, torch.tensor(walk.values[::-1], dtype=torch.float64))}


def chain(schedule: Discrete, t: Tensor) -> dict[str, Result]:
    """The reference's tables, for a chain that visits the rising times t."""
    s = torch.cat([torch.zeros(1).double(), t[:-1]])
    (alpha, sigma), (alpha_s, _) = schedule(t), schedule(s)
    (_, std), (c_x, c_t, small) = schedule.transition(s, t), schedule.posterior(s, t)
    return {
        "betas": std**2,
        "alphas_cumprod": alpha**2,
        "alphas_cumprod_prev": alpha_s**2,
        "alphas_cumprod_next": torch.cat([alpha[1:] ** 2, torch.zeros(1)]),
        "sqrt_alphas_cumprod": alpha,
        "sqrt_one_minus_alphas_cumprod": sigma,
        "log_one_minus_alphas_cumprod": 2 * sigma.log(),
        "sqrt_recip_alphas_cumprod": 1 / alpha,
        "sqrt_recipm1_alphas_cumprod": sigma / alpha,
        "posterior_variance": small**2,
        "posterior_log_variance_clipped": 2 * torch.cat([small[1:2], small[1:]]).log(),
        "posterior_mean_coef1": c_x,
        "posterior_mean_coef2": c_t,
        "variance_fixed_large": torch.cat([small[1:2], std[1:]]) ** 2,
    }


class Stored(nn.Module):
    """A network that returns what was stored; a learned log-variance is brought to the fraction that ours predict."""

    def __init__(self, output: Tensor, fraction: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.output, self.fraction, self.variance = output, fraction, fraction is not None

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        if self.fraction is None:
            return self.output
        mean, second = self.output.chunk(2, 1)
        return torch.cat([mean, self.fraction(second)], 1)


class Plane:
    """A classifier of one class whose logarithm has the stored gradient everywhere."""

    conds = {"label": Condition(classes=("0",))}

    def __init__(self, schedule: Discrete, grad: Tensor) -> None:
        self.schedule, self.grad = schedule, grad

    def log_class(self, x_t: Tensor, t: Time) -> Tensor:
        return (self.grad * x_t).flatten(1).sum(1, keepdim=True)


def steps(case: Case) -> Mapping[str, Result]:
    """Each row of the batch stands at an index of its own: row by row."""
    schedule, build = TABLES[case.params["schedule"]](case.params["T"]), step if "model_mean_type" in case.params else jump
    rows = [build(case, schedule, row) for row in range(len(case.inputs["t"]))]
    return {role: torch.cat([row[role] for row in rows]) for role in rows[0]}


def jump(case: Case, schedule: Discrete, row: int) -> dict[str, Tensor]:
    """The forward process and its posterior."""
    x0, noise = (case.inputs[name][row : row + 1] for name in ("x0", "noise"))
    number, ones = int(case.inputs["t"][row]), torch.ones_like(x0)
    t, s = pair(schedule, number)
    (alpha, sigma), (c_x, c_t, small) = schedule(t), schedule.posterior(s, t)
    x_t = alpha * x0 + sigma * noise
    return {
        "q_sample": x_t,
        "q_mean": alpha * x0,
        "q_variance": sigma**2 * ones,
        "q_log_variance": 2 * sigma.log() * ones,
        "posterior_mean": c_x * x0 + c_t * x_t,
        "posterior_variance": small**2 * ones,
        "posterior_log_variance_clipped": 2 * math.log(deviations(schedule, number)[0]) * ones,
    }


def pair(schedule: Discrete, number: int) -> Tensor:
    """The time of an index and that of the level before it, (2, 1)."""
    return torch.tensor([[number + 1], [number]], dtype=torch.float64) / len(schedule)


def deviations(schedule: Discrete, number: int) -> tuple[float, float]:
    """That of the posterior at an index (index 0 has none; the reference puts that of index 1) and of one step forward."""
    t, s = pair(schedule, number)
    before, at = pair(schedule, max(number, 1)).flip(0)
    return float(schedule.posterior(before, at)[2]), float(schedule.transition(s, t)[1])


def step(case: Case, schedule: Discrete, row: int) -> dict[str, Tensor]:
    """One backward step by every sampler."""
    params, number = case.params, int(case.inputs["t"][row])
    x, output, noise, grad = (case.inputs[name][row : row + 1] for name in ("x", "model_out", "noise", "grad"))
    kind, (small, large) = params["model_var_type"], deviations(schedule, number)
    learned = kind.startswith("LEARNED")
    now, before = pair(schedule, number)[:, 0].tolist()

    def fraction(given: Tensor) -> Tensor:
        return given if kind == "LEARNED_RANGE" else 2 * (given / 2 - math.log(small)) / math.log(large / small) - 1

    predict: Mapping[str, Prediction] = {
        "EPSILON": prediction.eps,
        "START_X": prediction.x0,
        "PREVIOUS_X": prediction.Mean(schedule),
    }
    bare = Denoiser(Stored(output, fraction if learned else None), schedule, predict[params["model_mean_type"]])
    clipped: Denoise = Guided(bare, Clip()) if params["clip_denoised"] else bare
    # A predicted mean is the mean: clipping what it says of x leaves it as it is.
    kept: Denoise = bare if params["model_mean_type"] == "PREVIOUS_X" else clipped
    label, plane = {"label": torch.zeros(1, dtype=torch.int64)}, Plane(schedule, grad)
    shifted = Guided(clipped, Classifier(other=plane))
    leaning = Guided(kept, Classifier(other=plane, ancestral=True))

    def walk(sampler: Sampler, denoise: Denoise, draw: Tensor) -> Tensor:
        cond = {name: value for name, value in label.items() if name in denoise.conds}
        return sampler(denoise, x, Given((now, before), final=True), cond, stored([draw]))

    zero = torch.zeros_like(x)
    ancestral = Ancestral(variance="learned" if learned else kind.removeprefix("FIXED_").lower())
    mean = walk(ancestral, kept, zero) if number else kept(x, now)
    if number:
        variance = (walk(ancestral, kept, zero + 1) - mean) ** 2
        log_variance = variance.log()
        drawn = {"p_sample": walk(ancestral, kept, noise), "p_sample_guided": walk(ancestral, leaning, noise)}
    else:  # our walks end by denoising; the variance that the reference holds here serves its bound, and its classifier's shift
        share = (bare.answer(x, now).variance + 1) / 2 if learned else zero
        log_variance = 2 * (math.log(small) + share * math.log(large / small))
        variance = zero if kind == "FIXED_SMALL" else log_variance.exp()
        drawn = {"p_sample": mean, "p_sample_guided": mean + variance * grad}
    longer = Discrete(torch.cat([schedule.betas, torch.ones(1)]))  # the reference's level after the last has no signal
    up = torch.tensor([number + 1, number + 2], dtype=torch.float64) / len(longer)
    reverse = DDIM().plan(longer, up.tolist())[0]
    return drawn | {
        "mean": mean,
        "variance": variance,
        "log_variance": log_variance,
        "pred_xstart": clipped(x, now),
        "ddim_guided_pred_xstart": shifted(x, now, label),
        **{f"ddim_eta{eta}": walk(DDIM(eta), clipped, noise) for eta in params["etas"]},
        **{f"ddim_guided_eta{eta}": walk(DDIM(eta), shifted, noise) for eta in params["etas"]},
        "ddim_reverse": reverse[0] * x + reverse[1] * clipped(x, now),
    }


class Toy(nn.Module):
    """The references' toy model: a x + 0.2 sin(w level + 3 x), and where it learns a variance b cos(2 x + w level)."""

    def __init__(self, a: float, w: float, b: float | None = None) -> None:
        super().__init__()
        self.a, self.w, self.b, self.variance = a, w, b, b is not None

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        phase = self.w * expand(level, x)
        mean = self.a * x + 0.2 * torch.sin(phase + 3 * x)
        return mean if self.b is None else torch.cat([mean, self.b * torch.cos(2 * x + phase)], 1)


def loops(case: Case) -> Mapping[str, Result]:
    params = case.params
    schedule = TABLES[params["schedule"]](params["T"])
    walk = respaced(params["timestep_respacing"], schedule)
    maps: dict[str, Result] = {"timestep_map": timestep_map(walk, params["T"])}
    if "sampler" not in params:
        return maps
    scale = 1000 / params["T"] if params["rescale_timesteps"] else 1.0
    toy = Toy(case.hyper["a"], case.hyper["w"], case.hyper["b"] if params["learn_sigma"] else None)
    denoiser: Denoise = Denoiser(toy, schedule, prediction.eps, lambda schedule, t: scale * index(schedule, t))
    if params["clip_denoised"]:
        denoiser = Guided(denoiser, Clip())
    fixed = params["fixed_variance_if_not_learned"].removeprefix("FIXED_").lower()
    ancestral = Ancestral(variance="learned" if params["learn_sigma"] else fixed)
    sampler: Sampler = ancestral if params["sampler"] == "ddpm" else DDIM(params["eta"])
    moments = sampler.walk(denoiser, case.inputs["x_T"], walk, rng=stored(case.inputs["noises"]))
    return maps | {"trajectory": along(torch.stack([moment.x for moment in moments]))}
