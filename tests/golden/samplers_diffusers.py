"""diffusers' schedulers: whole walks on an exact mixture, rebuilt from the scheduler's arguments.

Where a scheduler lets the network be told another time than the state's (rounded entries, sigma linear where the model has log
sigma linear), the same is told here through the denoiser's `level`: the samplers know nothing of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unnoise import prediction, times
from unnoise.denoiser import Denoise, Denoiser
from unnoise.guidance import Clip, Guided
from unnoise.sampler import DPM2, PNDM, Heun, Sampler
from unnoise.schedule import EDM, CosineBetas, Discrete, Flow, Schedule, ZeroSNR
from unnoise.tensor import expand

from .diffusers_options import IN_SIGMA, SPARE, flow_sigmas, rule, samplers
from .harness import Case, Named, Result, along, stored
from .samplers_mixture import clean

PREDICTIONS = {"epsilon": prediction.eps, "sample": prediction.x0, "v_prediction": prediction.v}


class Given(list[float]):
    """Times that need not fall, for lists that a reference does not follow itself."""

    final = True


class Strided(Sampler):
    """Another sampler whose k-th step ends at a time of its own, while the next begins at times[k + 1] nevertheless."""

    def __init__(self, sampler: Sampler, starts: Sequence[float], ends: Sequence[float]) -> None:
        self.sampler, self.starts, self.ends = sampler, starts, ends

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Any]:
        pairs = zip(self.starts, self.ends, strict=True)
        return [self.sampler.plan(schedule, pair)[0] for pair in pairs]

    def step(self, walk: Any, x_t: Tensor, k: int) -> Tensor:
        return self.sampler.step(walk, x_t, k)


class Toy(nn.Module):
    """The item's model: what a perfect network would say, told a timestep."""

    def __init__(self, case: Case, schedule: Schedule, variance: bool = False) -> None:
        super().__init__()
        self.case, self.schedule = case, schedule
        turned = "EDM" in case.params["scheduler"] and arguments(case).get("prediction_type") == "v_prediction"
        self.sign = -1.0 if turned else 1.0
        self.prediction = forms(case)
        self.variance = variance
        self.said: list[Tensor] = []

    def forward(self, x: Tensor, level: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        alpha, sigma = self.levels(level)
        c_skip, c_out, c_in = (expand(c, x) for c in self.prediction(alpha, sigma))
        x = x / c_in
        said = (clean(self.case, x, alpha, sigma) - c_skip * x) / c_out
        if self.variance:
            said = torch.cat([said, 0.5 * torch.cos(2 * x)], 1)
        self.said.append(said * self.sign)
        return said

    def levels(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at a timestep, as the item states them."""
        schedule = self.schedule
        if isinstance(schedule, Flow):
            return 1 - level / 1000, level / 1000
        if isinstance(schedule, EDM):
            return torch.ones_like(level), (4 * level).exp()
        assert isinstance(schedule, Discrete)
        ratio = (schedule.sigmas.log() - schedule.alphas.log()).clamp(max=1e6)
        left = level.floor().clamp(0, len(ratio) - 2).long()
        whole = level == level.round()
        between = torch.lerp(ratio[left], ratio[left + 1], level - left).exp()
        at = level.round().long()
        return (
            torch.where(whole, schedule.alphas[at], (1 + between**2).rsqrt()),
            torch.where(whole, schedule.sigmas[at], (1 + between**-2).rsqrt()),
        )


class Watched:
    """A denoiser that remembers the states it was asked about."""

    def __init__(self, denoiser: Denoise) -> None:
        self.denoiser = denoiser
        self.asked: list[tuple[Tensor, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoiser, name)

    def begin(self) -> Watched:
        return self

    def answer(self, x_t: Tensor, t: Any, cond: Any = None) -> Any:
        self.asked.append((x_t.clone(), float(t)))
        return self.denoiser.answer(x_t, t, cond)


def arguments(case: Case) -> Mapping[str, Any]:
    return case.params.get("kwargs", case.params)


def forms(case: Case) -> prediction.Prediction:
    name, keys = case.params["scheduler"], arguments(case)
    if "EDM" in name:
        return partial(prediction.edm, sigma_data=keys.get("sigma_data", 0.5))
    if "Flow" in name:
        return prediction.flow
    return PREDICTIONS[keys.get("prediction_type", "epsilon")]


def table(keys: Mapping[str, Any], smallest: float = 0.0) -> Discrete:
    """The scheduler's table; `smallest` is what a family of it keeps of alpha^2 where the signal was rescaled to end."""
    size = keys.get("num_train_timesteps", 1000)
    start, end = keys.get("beta_start", 1e-4), keys.get("beta_end", 0.02)
    kind = keys.get("beta_schedule", "linear")
    if kind == "squaredcos_cap_v2":
        schedule: Discrete = CosineBetas(size)
    else:
        power = 2 if kind == "scaled_linear" else 1
        schedule = Discrete(torch.linspace(start ** (1 / power), end ** (1 / power), size, dtype=torch.float64) ** power)
    if not keys.get("rescale_betas_zero_snr"):
        return schedule
    betas = ZeroSNR(schedule).betas.clone()
    if smallest:
        betas[-1] = 1 - smallest / (1 - betas[:-1]).prod()
    return Discrete(betas)


def diffusers(case: Case) -> dict[str, Result]:
    if "scheduler" not in case.params:
        return tables(case)
    schedule, sampler, walk, told, ends = prepare(case)
    variance = arguments(case).get("variance_type") == "learned_range"
    toy = Toy(case, schedule, variance)
    levels = iter(told)
    denoiser: Denoise = Denoiser(toy, schedule, forms(case), level=lambda _, t: torch.full_like(t, next(levels)))
    name, keys = case.params["scheduler"], arguments(case)
    if name.startswith("DD") and keys.get("clip_sample", True):
        denoiser = Guided(denoiser, Clip(-keys.get("clip_sample_range", 1.0), keys.get("clip_sample_range", 1.0)))
    watched = Watched(denoiser)
    in_sigma = name.startswith(IN_SIGMA)
    alpha = float(schedule(torch.tensor([walk[0]], dtype=torch.float64))[0])
    x = case.inputs["x_start"] * (alpha if in_sigma else 1)
    if keys.get("_inverse"):  # from clean data, whose noise no x0 can tell: the first state is noised as the network says
        x = noised(schedule, toy, x, walk[0], next(levels))
        watched.asked.append((x, walk[0]))
    *_, last = sampler.walk(watched, x, walk, rng=stored(case.inputs.get("noises", ())))
    return results(case, schedule, watched, toy, last.x, walk, told, ends, in_sigma)


def noised(schedule: Schedule, toy: Toy, x: Tensor, t: float, told: float) -> Tensor:
    alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    return alpha * x + sigma * toy(x, torch.full((len(x),), told, dtype=torch.float64), {})


def results(
    case: Case, schedule: Schedule, watched: Watched, toy: Toy, last: Tensor,
    walk: Sequence[float], told: Sequence[float], ends: Sequence[float], in_sigma: bool,
) -> dict[str, Result]:  # fmt: skip
    states, at = [*(x for x, _ in watched.asked[1:]), last], [t for _, t in watched.asked[1:]]
    final = getattr(walk, "final", False)
    ended = [ends[-1]] if final else []
    alpha = schedule(torch.tensor([*at, *ended], dtype=torch.float64))[0].tolist() + [1.0] * (not final)
    scale = alpha if in_sigma else [1.0] * len(states)
    states = [state / by for state, by in zip(states, scale, strict=True)]
    rows = len(case.outputs["trajectory"])
    states += states[-1:] * (rows - len(states))  # a last step between equal entries, which our walks leave out
    told = [*told, *[told[-1]] * (len(case.outputs["timesteps"]) - len(told))]
    return {
        "trajectory": along(torch.stack(states)),
        "final": along(states[-1]),
        "first_model_output": along(toy.said[0]),
        "timesteps": along(torch.tensor(told, dtype=torch.float64)),
        "sigmas": along(grid(case, schedule, walk)),
    }


def grid(case: Case, schedule: Schedule, walk: Sequence[float]) -> Tensor:
    """sigma / alpha of the walk, each but the first twice where a step evaluates twice; the end as often as in the reference."""
    alpha, sigma = schedule(torch.tensor(list(walk), dtype=torch.float64))
    ratio = sigma if isinstance(schedule, Flow) else sigma / alpha
    if "Heun" in case.params["scheduler"] or "KDPM2" in case.params["scheduler"]:
        ratio = torch.cat([ratio[:1], ratio[1:].repeat_interleave(2)])
    missing = len(case.outputs.get("sigmas", ratio)) - len(ratio)
    last = ratio[-1:] if getattr(walk, "final", False) else torch.zeros(1, dtype=torch.float64)
    return torch.cat([ratio, last.expand(max(missing, 0))])


def strays(params: Mapping[str, Any]) -> bool:
    """Whether DDIM's and PNDM's stride, T // n, is not that of their own list."""
    name, keys = params.get("scheduler", ""), params.get("kwargs", {})
    if not name.startswith(("DDIM", "PNDM")):
        return False
    schedule, n = table(keys), params["num_inference_steps"]
    entries = [round(t * len(schedule)) - 1 for t in rule(name, keys, schedule, n)(schedule, n)]
    return any(a - b != len(schedule) // n for a, b in itertools.pairwise(entries))


def prepare(case: Case) -> tuple[Schedule, Sampler, Sequence[float], list[float], list[float]]:
    """Schedule, sampler, times, what the network is told at each evaluation, and where each step ends."""
    name, keys, n = case.params["scheduler"], arguments(case), case.params["num_inference_steps"]
    sampler = samplers(name, keys, n)
    if "Flow" in name:
        schedule: Schedule = Flow(t_min=0.0)
        walk: Sequence[float] = times.Given(tuple(flow_sigmas(name, keys, n)))
        entries = [1000 * t for t in walk]
    elif "EDM" in name:
        schedule = EDM(keys.get("sigma_min", 0.002), keys.get("sigma_max", 80.0), keys.get("rho", 7.0))
        rule = times.LogSNR() if keys.get("sigma_schedule") == "exponential" else times.Uniform()
        walk = (times.Final(rule) if keys.get("final_sigmas_type") == "sigma_min" else rule)(schedule, n)
        entries = (-schedule.log_snr(torch.tensor(list(walk), dtype=torch.float64)) / 8).tolist()
    else:
        return on_table(case, sampler)
    return schedule, sampler, walk, spread(sampler, schedule, walk, entries), list(walk)


def on_table(case: Case, sampler: Sampler) -> tuple[Schedule, Sampler, Sequence[float], list[float], list[float]]:
    name, keys, n = case.params["scheduler"], arguments(case), case.params["num_inference_steps"]
    schedule = table(keys, 0.0 if name.startswith("DD") else 2.0**-24)
    size = len(schedule)
    chosen = rule(name, keys, schedule, n)
    walk = chosen(schedule, n)
    entries = [t * size - 1 for t in walk]
    if isinstance(chosen, times.Spaced):
        cosine = keys.get("beta_schedule") == "squaredcos_cap_v2" and "DPM" in name
        rounds = not keys.get("use_exponential_sigmas") and not cosine
        if name in SPARE:
            entries = [float(math.floor(entry + rounds / 2 + 1e-9)) for entry in entries]
        elif "KDPM2" in name and keys.get("use_karras_sigmas"):
            entries = [float(round(entry)) for entry in entries]
    elif any(entry % 1 > 1e-9 for entry in entries):
        walk = times.Given(tuple(linear_in_sigma(schedule, entries)))
    if name.startswith(("DDIM", "PNDM")):
        return following_stride(name, keys, schedule, sampler, walk, entries, n)
    if "DEIS" in name or keys.get("final_sigmas_type") == "sigma_min":
        walk = times.Given(tuple(walk) if walk[-1] <= schedule.t_min else (*walk, schedule.t_min), final=True)
    if "LMS" in name:
        walk = times.Given((*walk, 0.0), final=True)
    return schedule, sampler, walk, spread(sampler, schedule, walk, entries), list(walk)


def following_stride(
    name: str, keys: Mapping[str, Any], schedule: Discrete, sampler: Sampler, walk: Sequence[float], entries: list[float], n: int
) -> tuple[Schedule, Sampler, Sequence[float], list[float], list[float]]:
    """DDIM and PNDM step to entry - T // n, whatever the next of their own list is."""
    size = len(schedule)
    end = 0.0 if keys.get("set_alpha_to_one", not name.startswith("PNDM")) else schedule.t_min
    ends = [max((entry - size // n + 1) / size, 0.0) or end for entry in entries]
    if keys.get("_inverse"):
        up = list(reversed(walk))
        return schedule, Strided(sampler, up[:-1], up[1:]), Given(up), entries[::-1], up
    follows = all(abs(a - b) < 1e-9 for a, b in zip(ends, walk[1:], strict=False))
    if follows and end:
        last = walk[-1] <= end
        return schedule, sampler, times.Given(tuple(walk) if last else (*walk, end), final=True), (
            spread(sampler, schedule, Given([*walk, end]), entries)[: None]), [*walk, end]  # fmt: skip
    if follows:
        return schedule, sampler, walk, spread(sampler, schedule, walk, entries), list(walk)
    return schedule, Strided(sampler, list(walk), ends), Given([*walk, end]), entries, ends


def linear_in_sigma(schedule: Discrete, entries: Sequence[float]) -> list[float]:
    """The times whose sigma / alpha is linear between entries, as those schedulers have it (their model: log linear)."""
    ratios = schedule.sigmas / schedule.alphas
    at = torch.tensor(entries, dtype=torch.float64)
    left = at.floor().clamp(0, len(ratios) - 2).long()
    ratio = torch.lerp(ratios[left], ratios[left + 1], at - left)
    return schedule.time(-2 * ratio.log()).tolist()


def spread(sampler: Sampler, schedule: Schedule, walk: Sequence[float], entries: Sequence[float]) -> list[float]:
    """What the network is told at each evaluation, where a sampler makes more than one a step."""
    if isinstance(sampler, Heun):
        return [entries[0], *(entry for entry in entries[1:] for _ in range(2))]
    if isinstance(sampler, DPM2):
        middles = [step.u * len(schedule) - 1 for step in sampler.plan(schedule, walk)]  # type: ignore[arg-type]
        return [entry for pair in zip(entries, middles, strict=False) for entry in pair] + [entries[-1]]
    if isinstance(sampler, PNDM) and sampler.warmup == "heun":
        return [*entries[:2], *entries[1:]]
    if isinstance(sampler, PNDM) and sampler.warmup == "runge_kutta":
        warm: Iterator[list[float]] = ([a, (a + b) / 2, (a + b) / 2, b] for a, b in itertools.pairwise(entries[:4]))
        return [*(entry for block in warm for entry in block), *entries[3:]]
    return list(entries)


def tables(case: Case) -> dict[str, Result]:
    schedule = table(case.params)
    if "t" not in case.inputs:
        return {"alphas_cumprod": schedule.alphas**2, "betas": Named(schedule.betas, along=False)}
    t = (case.inputs["t"].double() + 1) / len(schedule)
    x, noise = case.inputs["x"], case.inputs["noise"]
    alpha, sigma = (expand(part, x) for part in schedule(t))
    return {"add_noise": alpha * x + sigma * noise, "velocity": alpha * noise - sigma * x}
