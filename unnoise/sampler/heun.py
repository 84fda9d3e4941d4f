"""Euler's method, and Heun's: a trial step, then a mean of the slopes at its two ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from unnoise.sampler.base import Path
from unnoise.sampler.churn import Churned, Ends, straight, tangent
from unnoise.schedule import Schedule


@dataclass(frozen=True)
class Euler(Churned):
    """Euler's method.

        x_s / alpha_s = x_t / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) eps         along "ratio": DDIM's step
        x_s = x_t + (s - t) (alpha'_t x0 + sigma'_t eps)                                    along "t"

    Order 1, one evaluation a step. The first is exact for constant x0 and eps, and more accurate wherever alpha and sigma are
    not straight lines in t; where they are (`Flow`) the two are one.

    Args:
        along: The variable of the method.

    Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, eq. 13 (rewritten
    with x0 and eps), arXiv:2011.13456; Karras et al. 2022, section 3, arXiv:2206.00364
    """

    along: Literal["t", "ratio"] = "ratio"

    def moves(self, start: Ends, middle: Ends, end: Ends) -> Sequence[tuple[float, ...]]:
        return [(tangent if self.along == "t" else straight)(start, end)]


@dataclass(frozen=True)
class Heun(Churned):
    """Heun's method: a trial step (Euler's), then a mean of the slopes at its two ends.

        x_s / alpha_s = x_t / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) ((1 - w) eps_t + w eps_u);   w = 1 / (2 reach)

    with u at the share `reach` of the step. Order 2, two evaluations a step: 2 n - 1 in a walk. A step from alpha_t = 0, where
    the ratio is infinite, is taken along t; a step to sigma_s = 0 is the trial alone.

    Args:
        along: The variable of the method: "ratio" sigma / alpha, as above, or "t" (then x for x / alpha and dx/dt for eps).
        reach: 1 is Heun's method, 2/3 Ralston's, 1/2 the midpoint method.

    Reference: Karras et al. 2022, algorithms 1-3 (reach: alpha in algorithm 3). arXiv:2206.00364
    """

    along: Literal["t", "ratio"] = "ratio"
    reach: float = 1.0

    order = 2

    def __post_init__(self) -> None:
        if not 0 < self.reach <= 1:
            raise ValueError(f"Heun: reach must lie in (0, 1], given {self.reach:g}")

    def evaluations(self, n: int) -> int:
        return 2 * n - 1

    def middles(self, schedule: Schedule, start: Path, end: Path) -> list[float]:
        if self.reach == 1:
            return end.t
        t, s = torch.tensor([start.t, end.t], dtype=torch.float64)
        if self.along == "t":
            return torch.lerp(t, s, self.reach).tolist()
        lams = torch.tensor([start.lam, end.lam], dtype=torch.float64)
        first, last = (-lams).exp()
        ratio = torch.lerp(first, last, self.reach)
        return torch.where(ratio.isfinite(), schedule.time(-2 * ratio.log()), torch.lerp(t, s, self.reach)).tolist()

    def moves(self, start: Ends, middle: Ends, end: Ends) -> Sequence[tuple[float, ...]]:
        along_t = self.along == "t" or start.alpha == 0
        to = tangent if along_t else straight
        if end.sigma == 0:
            return [to(start, end)]
        w = 1 / (2 * self.reach)
        if along_t:
            g, kept = end.t - start.t, 1.0
            (p, q), (p_u, q_u) = (start.p, start.q), (middle.p, middle.q)
        else:
            g, kept = end.sigma - start.sigma * end.alpha / start.alpha, end.alpha / start.alpha
            (p, q), (p_u, q_u) = ((1 / at.sigma, -at.alpha / at.sigma) for at in (start, middle))
        return [to(start, middle), (kept + g * (1 - w) * p, g * (1 - w) * q, g * w * p_u, g * w * q_u)]
