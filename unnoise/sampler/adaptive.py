"""A solver that chooses its own steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unnoise.sampler.base import Path, Sampler, Walk, path
from unnoise.schedule import Schedule
from unnoise.tensor import expand

SMALLEST = 1e-5  # of lam: less than this before its end an interval counts as done


@dataclass(frozen=True)
class Adaptive(Sampler):
    """DPM-Solver-12 or -23: steps in lam as long as two solvers of neighbouring orders agree.

        |x_low - x_high| <= max(atol, rtol max(|x_low|, |x_past|)) in the mean square;   x = state / alpha

    Each sample has steps of its own. Every interval of the times is solved so: two times, the first and the last, are enough.
    `evaluations` is known to the walk alone (`Moment.nfe`; of the slowest sample, where a batch goes on until all are done).

    Args:
        order: 2 or 3, of the better solver; evaluations in a step.
        rtol, atol: Tolerances, of x / alpha.
        first: The first step to try, in lam.
        norm: The error of each sample, or, as in published code, one for the batch: then an image depends on its batch.

    Raises:
        ValueError: In a walk, where lam is infinite: alpha or sigma 0.

    Reference: Lu et al., DPM-Solver, 2022, appendix C. arXiv:2206.00927; step control: Soederlind, Digital Filters in Adaptive
    Time-Stepping, 2003
    """

    order: int = 3
    rtol: float = 0.05
    atol: float = 0.0078
    first: float = 0.05
    norm: Literal["sample", "batch"] = "sample"

    def __post_init__(self) -> None:
        if self.order not in (2, 3):
            raise ValueError(f"Adaptive: order must be 2 or 3, given {self.order}")

    def evaluations(self, n: int) -> int | None:
        return 1 if n == 1 else None

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Path:
        at = path(schedule, times)
        if len(times) > 1 and not all(map(math.isfinite, at.lam)):
            raise ValueError(f"Adaptive steps in log(alpha / sigma), infinite at an end of this walk on {schedule!r}")
        return at

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        at: Path = walk.plan
        lam, end = torch.full((len(x_t),), at.lam[k], dtype=torch.float64), at.lam[k + 1]
        h = torch.full_like(lam, math.copysign(self.first, end - at.lam[k]))
        x = x_t / at.alpha[k]
        past = x
        while (going := (end - lam).abs() > SMALLEST).any():
            target = torch.where(h.abs() < (end - lam).abs(), lam + h, end)
            low, high = self._try(walk, x, lam, target)
            growth = self._error(x, past, low, high).add(1e-8).pow(-1 / self.order).sub(1).atan().add(1)
            accepted = (growth >= 0.81) & going
            moved = expand(accepted.to(x.device), x)
            x, past = torch.where(moved, high, x), torch.where(moved, low, past)
            lam, h = torch.where(accepted, target, lam), h * growth
        return x * at.alpha[k + 1]

    def _error(self, x: Tensor, past: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Root mean square of the difference over what is tolerated, (B,)."""
        tolerated = torch.maximum(low.abs(), past.abs()).mul_(self.rtol).clamp_(min=self.atol)
        squares = ((low - high) / tolerated).square().flatten(1).mean(1).double().cpu()
        return (squares.mean().expand_as(squares) if self.norm == "batch" else squares).sqrt()

    def _try(self, walk: Walk, x: Tensor, lam: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The two solutions at target, from x / alpha at lam: both with eps there and at one or two places between."""
        h = target - lam
        eps = _eps(walk, x, lam)
        if self.order == 2:
            half = _eps(walk, _plus(x, -_gain(lam, h / 2), eps), lam + h / 2)
            return _plus(x, -_gain(lam, h), eps), _plus(x, -_gain(lam, h), half)
        third = _eps(walk, _plus(x, -_gain(lam, h / 3), eps), lam + h / 3) - eps
        straight = _plus(x, -_gain(lam, h), eps)
        reach = 2 * h / 3
        near = _plus(_plus(x, -_gain(lam, reach), eps), -2 * _bend(lam, reach), third)
        rest = _eps(walk, near, lam + reach) - eps
        return _plus(straight, -1.5 * _gain(lam, h), third), _plus(straight, -1.5 * _bend(lam, h), rest)


def _gain(lam: Tensor, h: Tensor) -> Tensor:
    """sigma / alpha at lam, less that at lam + h: the integral of a constant eps."""
    return (-lam - h).exp() * torch.expm1(h)


def _bend(lam: Tensor, h: Tensor) -> Tensor:
    """The same for an eps that grows from 0 to 1 along h."""
    return (-lam - h).exp() * (torch.expm1(h) / h - 1).nan_to_num(0)


def _plus(x: Tensor, coefficient: Tensor, value: Tensor) -> Tensor:
    return x + expand(coefficient.to(x.device, x.dtype), x) * value


def _eps(walk: Walk, x: Tensor, lam: Tensor) -> Tensor:
    """The noise in x / alpha at lam, (B,)."""
    t = walk.denoiser.schedule.time(2 * lam)
    alpha, _ = walk.denoiser.schedule(t)
    x0 = walk.denoise(x * expand(alpha.to(x.device, x.dtype), x), t)
    return (x - x0) * expand(lam.exp().to(x.device, x.dtype), x)
