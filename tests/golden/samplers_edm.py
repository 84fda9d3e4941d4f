"""EDM: preconditioning, and both samplers on an exact mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unnoise.prediction import Coefficients, edm, eps
from unnoise.sampler import Euler, Heun, Sampler
from unnoise.schedule import EDM as Grid
from unnoise.schedule import VP, CosineBetas, Schedule

from .harness import Case, Result, along
from .samplers_mixture import Exact, by_step, exploding, walk_of

ROOM = 2.0  # above the first sigma, for churn
EPSILON, LEAST = 1e-3, 1e-5  # epsilon_s of the sampler, epsilon_t of VP's preconditioner
ENDS = {"ve": (0.02, 100.0), "iddpm": (0.002, 81.0), "edm": (0.002, 80.0)}


class Root(Schedule):
    """alpha = 1 and sigma = top sqrt(t): variance linear in time."""

    def __init__(self, top: float) -> None:
        self.top = top

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.top * t.sqrt()


def edm_item(case: Case) -> dict[str, Result]:
    if "precond" in case.params:
        return precondition(case)
    return ablation(case) if "solver" in case.params else sampler(case)


def ratios(schedule: Schedule, t: Tensor) -> Tensor:
    return (schedule.log_snr(t) / -2).exp()


def iddpm(size: int) -> Tensor:
    """sigma / alpha of the cosine table, falling, and 0 at the end."""
    table = CosineBetas(size)
    return torch.cat([(table.sigmas / table.alphas).flip(0), torch.zeros(1, dtype=torch.float64)])


def nearest(table: Tensor, sigmas: Tensor) -> Tensor:
    return (sigmas[:, None] - table).abs().argmin(1)


def precondition(case: Case) -> dict[str, Result]:
    sigma, x, kind = case.inputs["sigma"], case.inputs["x"], case.params["precond"]
    found: dict[str, Result] = {}
    predict: Callable[[Tensor, Tensor], Coefficients] = eps
    if kind == "VP":
        vp = VP()
        level = 999 * vp.time(-2 * sigma.log())
        found["sigma_range"] = ratios(vp, torch.tensor([LEAST, 1.0], dtype=torch.float64))
    elif kind == "VE":
        predict, level = (lambda alpha, sigma: (alpha, sigma, alpha)), (sigma / 2).log()
        found["sigma_range"] = torch.tensor([0.02, 100.0], dtype=torch.float64)
    elif kind == "iDDPM":
        size = case.params["M"]
        table = iddpm(size)
        index = nearest(table, sigma)
        level = size - 1 - index.double()
        found |= {"u": table, "index": index, "rounded": table[index], "sigma_range": table[[-2, 0]]}
    else:
        predict, level = partial(edm, sigma_data=case.params["sigma_data"]), sigma.log() / 4
    c_skip, c_out, c_in = predict(torch.ones_like(sigma), sigma)
    wide = [c[:, None, None, None] for c in (c_skip, c_out, c_in, level)]
    said = torch.tanh(wide[2] * x) + 0.01 * wide[3]
    return found | {"c_skip": c_skip, "c_out": c_out, "c_in": c_in, "c_noise": level, "D": wide[0] * x + wide[1] * said}


def follow(case: Case, member: Sampler, schedule: Schedule, sigmas: Tensor) -> dict[str, Result]:
    times = walk_of(schedule, torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)]))
    denoiser = Exact(case, schedule)
    x = case.inputs["latents"] * float(schedule(torch.tensor(times[0], dtype=torch.float64))[1])
    end = member(denoiser, x, times, rng=by_step(times, case.inputs["noises"]))
    return {"sample": along(end), "denoiser_inputs": along(torch.stack(denoiser.asked))}


def churn(params: Any) -> dict[str, float]:
    names = {"S_churn": "churn", "S_min": "churn_from", "S_max": "churn_to", "S_noise": "churn_scale"}
    return {ours: params[theirs] for theirs, ours in names.items() if theirs in params}


def sampler(case: Case) -> dict[str, Result]:
    params = case.params
    low = max(params.get("sigma_min", 0.002), params.get("net_sigma_min", 0.0))
    high = min(params.get("sigma_max", 80.0), params.get("net_sigma_max", torch.inf))
    sigmas = karras(low, high, params.get("rho", 7.0), params["num_steps"])
    if "round_sigma" in params:
        table = case.shared("precond_iDDPM/u")
        sigmas = table[nearest(table, sigmas)]
    return follow(case, Heun(**churn(params)), exploding(ROOM * float(sigmas[0])), sigmas)


def karras(low: float, high: float, rho: float, n: int) -> Tensor:
    return Grid(low, high, rho)(torch.linspace(1, 0, n, dtype=torch.float64))[1]


def ablation(case: Case) -> dict[str, Result]:
    params, n = case.params, case.params["num_steps"]
    standard = VP(t_min=EPSILON)
    low, high = ENDS.get(params["discretization"], ratios(standard, torch.tensor([EPSILON, 1.0], dtype=torch.float64)).tolist())
    spread, whole = torch.tensor([low, high], dtype=torch.float64).square().log1p().tolist()
    rate = 2 * (spread / EPSILON - whole) / (EPSILON - 1)
    vp = VP(whole - rate / 2, whole + rate / 2)
    even = torch.linspace(0, 1, n, dtype=torch.float64)
    if params["discretization"] == "vp":
        sigmas = ratios(vp, 1 + even * (EPSILON - 1))
    elif params["discretization"] == "ve":
        sigmas = high * (low / high) ** even
    elif params["discretization"] == "iddpm":
        table = iddpm(params["M"])
        table = table[(table >= low) & (table <= high)]
        sigmas = table[((len(table) - 1) * even).round().long()]
    else:
        sigmas = karras(low, high, 7.0, n)
    top = ROOM * float(sigmas[0])
    schedule = {"vp": vp, "ve": Root(top), "linear": exploding(top)}[params["schedule"]]
    heun = params["solver"] == "heun"
    member = Heun(**churn(params), along="t", reach=params["alpha"]) if heun else Euler(**churn(params), along="t")
    return follow(case, member, schedule, sigmas)
