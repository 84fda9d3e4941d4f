"""Our schedule, level and prediction as the table of a chain, the entry and the kind of diffusers, or a refusal by name.

Nothing is matched by what it is called where numbers can tell: a prediction is known by its coefficients, a level by its values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unnoise import prediction
from unnoise.denoiser import Denoiser
from unnoise.schedule import CosineBetas, Discrete, LinearBetas, ScaledLinearBetas, Schedule, Table

STEPS = 1000  # of the table that a continuous schedule becomes
PREDICTIONS = {"epsilon": prediction.eps, "sample": prediction.x0, "v_prediction": prediction.v}


def chain(denoiser: Denoiser) -> tuple[Discrete, str]:
    """The table that a schedule is, or is sampled at, and what the network predicts on it.

    A schedule that does not preserve variance becomes the one of the same log-SNR that does, where the network cannot tell.

    Raises:
        ValueError: For a level or a prediction that is not theirs.
    """
    schedule = denoiser.schedule
    steps = len(schedule) if isinstance(schedule, Table) else STEPS
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    alpha, sigma = schedule(t)
    power = (alpha**2 + sigma**2).sqrt()
    table = schedule if isinstance(schedule, Discrete) else _sampled(alpha / power, schedule)
    told = denoiser.level(schedule, t)
    if not torch.allclose(told, torch.arange(steps, dtype=torch.float64), rtol=0, atol=1e-6 * steps):
        name = getattr(denoiser.level, "__name__", repr(denoiser.level))
        raise ValueError(f"level {name!r}: diffusers tells a network the entry of its table; that needs a model of level 'index'")
    for kind, rule in PREDICTIONS.items():
        c_skip, c_out, c_in = rule(alpha / power, sigma / power)
        if _equal(denoiser.predict(alpha, sigma), (c_skip / power, c_out, c_in / power)):
            return table, kind
    name = getattr(denoiser.predict, "__name__", repr(denoiser.predict))
    raise ValueError(f"prediction {name!r} on {schedule!r} is none of diffusers' epsilon, sample and v_prediction")


def betas(table: Discrete) -> dict[str, Any]:
    """The table by its name in diffusers, or in full."""
    first, last, steps = float(table.betas[0]), float(table.betas[-1]), len(table)
    if isinstance(table, Sampled):
        return {"trained_betas": table.singles}
    for kind, maker in (("linear", LinearBetas), ("scaled_linear", ScaledLinearBetas)):
        if torch.allclose(table.betas, maker(steps, *_unscaled(maker, first, last, steps)).betas, rtol=1e-9, atol=0):
            return {"beta_schedule": kind, "beta_start": first, "beta_end": last}
    if torch.allclose(table.betas, CosineBetas(steps).betas, rtol=1e-9, atol=0):
        return {"beta_schedule": "squaredcos_cap_v2"}
    return {"trained_betas": _singles(table.kept[1:])}


class Sampled(Discrete):
    """The table of a continuous schedule in single precision, as their code has it: `singles` are its betas."""

    def __init__(self, kept: Tensor) -> None:
        self.singles = _singles(kept)
        steps = 1 - torch.tensor(self.singles, dtype=torch.float32)
        rounded = torch.cumprod(steps.double(), 0).float().double()
        super().__init__(1 - rounded / torch.cat([torch.ones(1, dtype=torch.float64), rounded[:-1]]))


def _singles(kept: Tensor) -> list[float]:
    """Betas in single precision whose products are `kept`, alpha^2: each makes good for the rounding of those before."""
    found, product = [], 1.0
    for target in kept.tolist():
        found.append(torch.tensor(1 - target / product, dtype=torch.float32))
        product *= float(1 - found[-1])
    return [float(beta) for beta in found]


def _sampled(alphas: Tensor, schedule: Schedule) -> Sampled:
    try:
        return Sampled(alphas**2)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{schedule!r} at {len(alphas)} entries is no chain: {error}") from error


def _unscaled(maker: type[Discrete], first: float, last: float, steps: int) -> tuple[float, float]:
    """The arguments of a maker for a table between these ends: linear ones scale them with 1000 / steps."""
    scale = 1000 / steps if maker is LinearBetas else 1.0
    return first / scale, last / scale


def _equal(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(ours, theirs, strict=True))
