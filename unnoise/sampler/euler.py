"""Textbook solvers of the probability-flow equation dx/dt = alpha' x0 + sigma' eps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.sampler.base import Sampler, Walk, path
from unnoise.sampler.ddim import DDIM, Linear
from unnoise.schedule import Schedule


@dataclass(frozen=True)
class Euler(Linear):
    """Euler's method in t.

        x_s = x_t + (s - t) (alpha'_t x0 + sigma'_t eps)

    Order 1, one evaluation a step. DDIM solves the same equation exactly for constant x0 and eps, and is more accurate wherever
    alpha and sigma are not straight lines in t; where they are (`Flow`) the two are one.

    Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, eq. 13 (rewritten with x0
    and eps). arXiv:2011.13456
    """

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[tuple[float, float, float]]:
        t, alpha, sigma, _ = path(schedule, times)
        d_alpha, d_sigma = (rate.tolist() for rate in schedule.rates(torch.tensor(t, dtype=torch.float64)))
        steps = []
        for k in range(len(t) - 1):
            dt = t[k + 1] - t[k]
            a = dt * d_sigma[k] / sigma[k]
            steps.append((1 + a, dt * d_alpha[k] - a * alpha[k], 0.0))
        return steps


@dataclass(frozen=True)
class Heun(Sampler):
    """Heun's method in sigma / alpha: a trial step (DDIM's), then the mean of the slopes at its two ends.

        x_s / alpha_s = x_t / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) (eps_t + eps_s) / 2

    Order 2, two evaluations a step. A step from alpha_t = 0, where the variable is infinite, is the trial alone.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, algorithm 1. arXiv:2206.00364
    """

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[tuple[tuple[float, ...], tuple[float, ...] | None]]:
        _, alpha, sigma, _ = path(schedule, times)
        steps: list[tuple[tuple[float, ...], tuple[float, ...] | None]] = []
        for k, trial in enumerate(DDIM().plan(schedule, times)):
            if alpha[k] == 0:
                steps.append((trial, None))
                continue
            g = alpha[k + 1] * (sigma[k + 1] / alpha[k + 1] - sigma[k] / alpha[k]) / 2
            kept = alpha[k + 1] / alpha[k] + g / sigma[k]
            steps.append((trial, (kept, -g * alpha[k] / sigma[k], g / sigma[k + 1], -g * alpha[k + 1] / sigma[k + 1])))
        return steps

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        (a, b, _), correction = walk.plan[k]
        x0 = walk.denoise(x_t, walk.times[k])
        trial = (x_t * a).add_(x0, alpha=b)
        if correction is None:
            return trial
        a, b, c, d = correction
        x0_s = walk.denoise(trial, walk.times[k + 1])
        return (x_t * a).add_(x0, alpha=b).add_(trial, alpha=c).add_(x0_s, alpha=d)
