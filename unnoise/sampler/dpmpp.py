"""Exponential integrators in lam = log(alpha / sigma) with x0 for their unknown: DPM-Solver++."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from unnoise.sampler.base import Sampler, Walk, path
from unnoise.schedule import Schedule


@dataclass(frozen=True)
class DPMpp2M(Sampler):
    """DPM-Solver++(2M): two-step, it extrapolates x0 along the last two evaluations.

        x_s = (sigma_s / sigma_t) x_t - alpha_s (exp(-h) - 1) ((1 + 1 / (2 r)) x0 - x0_past / (2 r)),   r = h_past / h

    Order 2, one evaluation a step; the first step is DDIM's.

    Reference: Lu et al., DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models, 2022, algorithm 2.
    arXiv:2211.01095
    """

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[tuple[float, float, float]]:
        _, alpha, sigma, lam = path(schedule, times)
        steps = []
        for k in range(len(times) - 1):
            h = lam[k + 1] - lam[k]
            gain = -alpha[k + 1] * math.expm1(-h)
            past = h / (lam[k] - lam[k - 1]) / 2 if k else 0.0
            steps.append((sigma[k + 1] / sigma[k], gain * (1 + past), -gain * past))
        return steps

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        a, b, c = walk.plan[k]
        x0 = walk.denoise(x_t, walk.times[k])
        x_s = (x_t * a).add_(x0, alpha=b)
        if c:
            x_s.add_(walk.past[0], alpha=c)
        walk.past = [x0]
        return x_s
