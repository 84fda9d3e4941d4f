"""What diffusers' schedulers are called here, and their options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from unnoise import times
from unnoise.sampler import (
    DDIM,
    DEIS,
    DPM2,
    LMS,
    PNDM,
    Ancestral,
    DPMpp2M,
    DPMpp3M,
    DPMSolver,
    Euler,
    Heun,
    Renoise,
    Sampler,
    Singlestep,
    UniPC,
)  # fmt: skip
from unnoise.schedule import Discrete

SPARE = ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler")
IN_SIGMA = ("Euler", "Heun", "KDPM2", "LMS")  # state x / alpha, entries not rounded


def rule(name: str, keys: Mapping[str, Any], schedule: Discrete, n: int) -> times.Times:
    """Its spacing of the chain's entries."""
    spare = name in SPARE
    if keys.get("use_karras_sigmas"):
        return times.Karras()
    if keys.get("use_exponential_sigmas") or keys.get("use_lu_lambdas"):
        return times.LogSNR()
    if "lambda_min_clipped" in keys:
        noisiest = int((schedule.log_snr(schedule.times) / 2 > keys["lambda_min_clipped"]).sum())
        return times.Listed(tuple(times.Linspace(spare=True).entries(noisiest, n)))
    leads = name.startswith(("DDIM", "PNDM", "DDPM"))
    kind = keys.get("timestep_spacing", "leading" if leads else "linspace")
    if kind == "leading":
        offset = keys.get("steps_offset", 0)
        return times.Leading(offset, spare)
    if kind == "trailing":
        return times.Trailing()
    return times.Linspace(rounded=not name.startswith(IN_SIGMA), spare=spare)


def flow_sigmas(name: str, keys: Mapping[str, Any], n: int) -> list[float]:
    """Shifted twice where the scheduler does: its ends are shifted already."""
    shift = keys.get("shift", 1.0)
    least = 1e-3 if keys.get("use_dynamic_shifting") else shift * 1e-3 / (1 + (shift - 1) * 1e-3)
    if keys.get("use_dynamic_shifting"):
        shift = math.exp(keys["_mu"])
    even = [1 + k * (least - 1) / (n - 1) for k in range(n)]
    shifted = [shift * s / (1 + (shift - 1) * s) for s in even]
    if keys.get("use_karras_sigmas"):
        ends = shifted[0] ** (1 / 7), shifted[-1] ** (1 / 7)
        return [(ends[0] + k * (ends[1] - ends[0]) / (n - 1)) ** 7 for k in range(n)]
    return shifted


def samplers(name: str, keys: Mapping[str, Any], n: int) -> Sampler:
    """The sampler that it is, with its options."""
    order, kind = keys.get("solver_order", 2), keys.get("solver_type")
    lower = keys.get("lower_order_final", True) and (n < 15 or "UniPC" in name)
    if name == "DDPMScheduler":
        variance = {"fixed_large": "large", "learned_range": "learned"}.get(keys.get("variance_type", ""), "small")
        return Ancestral(variance)  # type: ignore[arg-type]
    if name.startswith("DDIM"):
        return DDIM(keys.get("_eta", 0.0), raw=True)
    if name == "PNDMScheduler":
        return PNDM("heun" if keys.get("skip_prk_steps") else "runge_kutta")
    if name == "DPMSolverSinglestepScheduler":
        unknown = "eps" if keys.get("algorithm_type") == "dpmsolver" else "x0"
        return Singlestep(order, unknown, kind or "midpoint")  # type: ignore[arg-type]
    if name == "UniPCMultistepScheduler":
        unknown = "x0" if keys.get("predict_x0", True) else "eps"
        return UniPC(order, unknown, kind or "bh2", lower, tuple(keys.get("disable_corrector", ())))  # type: ignore[arg-type]
    if name == "DEISMultistepScheduler":
        return DEIS(order, lower=lower and not keys.get("use_karras_sigmas"))
    if "DPMSolverMultistep" in name:
        algorithm = keys.get("algorithm_type", "dpmsolver++")
        eta = float(algorithm.startswith("sde"))
        if not algorithm.endswith("++"):
            return DPMSolver(order, eta, kind or "midpoint", lower, halved=True)
        if order == 1:
            return DDIM(eta)
        many = DPMpp2M if order == 2 else partial(DPMpp3M, halved=True)
        return many(eta=eta, rule=kind or "midpoint", lower=lower)  # type: ignore[operator]
    if name == "FlowMatchEulerDiscreteScheduler":
        return Renoise() if keys.get("stochastic_sampling") else Euler(along="t")
    return {
        "FlowMatchHeunDiscreteScheduler": Heun(along="t"),
        "EulerAncestralDiscreteScheduler": DDIM(1.0),
        "HeunDiscreteScheduler": Heun(),
        "KDPM2DiscreteScheduler": DPM2(),
        "KDPM2AncestralDiscreteScheduler": DPM2(eta=1.0),
        "LMSDiscreteScheduler": LMS(),
    }.get(name, Euler(along="ratio"))
