"""Two-evaluation methods, and churn: noise added before a step and taken away by it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unnoise.sampler.base import Path, Sampler, Walk, path
from unnoise.sampler.euler import slopes
from unnoise.schedule import Schedule


class Moves(NamedTuple):
    """One step: x at the raised time t is scale x + std noise; x_u = a_u x + b_u x0; x_s = a x + b x0 + c x_u + d x0_u + e noise.

    Where e_u is not 0 there is noise in x_u too.
    """

    t: float
    scale: float
    std: float
    u: float
    to_u: tuple[float, float]
    to_s: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # without d the step is x_u, and s is u
    e: float = 0.0
    e_u: float = 0.0


@dataclass(frozen=True)
class Churned(Sampler):
    """A method of one or two evaluations whose steps may begin by adding noise.

    Args:
        churn: Noise added over the walk: sigma / alpha grows by the share min(churn / steps, sqrt(2) - 1) before each step, but
            never above its value at t = 1. 0 adds none.
        churn_from, churn_to: Noise is added while sigma / alpha lies between.
        churn_scale: Standard deviation of what is added, a little above 1 against lost detail.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, algorithm 2.
    arXiv:2206.00364
    """

    churn: float = 0.0
    churn_from: float = 0.0
    churn_to: float = math.inf
    churn_scale: float = 1.0

    def middles(self, schedule: Schedule, start: Path, end: Path) -> list[float]:
        """The time of each step's second evaluation."""
        return end.t

    @abstractmethod
    def moves(self, start: Ends, middle: Ends, end: Ends) -> Sequence[tuple[float, ...]]:
        """Of one step: (a_u, b_u), (a, b, c, d), (e, e_u); only the first for one evaluation."""

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Moves]:
        at = path(schedule, times)
        raised, scales, stds = self._raise(schedule, at, getattr(times, "final", False))
        start, end = path(schedule, raised), Path(*(values[1:] for values in at))
        middle = path(schedule, self.middles(schedule, start, end))
        ends = [_ends(schedule, where) for where in (start, middle, end)]
        moves = [self.moves(*three) for three in zip(*ends, strict=True)]
        starts = zip(raised, scales, stds, middle.t, strict=True)
        return [Moves(*first, *m[:2], *sum(m[2:], ())) for first, m in zip(starts, moves, strict=True)]  # type: ignore[arg-type]

    def _raise(self, schedule: Schedule, at: Path, final: bool) -> tuple[list[float], list[float], list[float]]:
        """For each step the raised time, and how x gets there."""
        t = torch.tensor(at.t[:-1], dtype=torch.float64)
        ratio = -torch.tensor(at.lam[:-1], dtype=torch.float64)
        chosen = (self.churn_from <= ratio.exp()) & (ratio.exp() <= self.churn_to) if self.churn else torch.zeros_like(t) > 0
        growth = math.log1p(min(self.churn / (len(at.t) - final), math.sqrt(2) - 1))
        raised = torch.where(chosen, schedule.time(-2 * (ratio + growth)), t) if chosen.any() else t
        scale, std = schedule.transition(t, raised)
        return raised.tolist(), scale.nan_to_num(1.0).tolist(), (std.nan_to_num(0.0) * self.churn_scale * chosen).tolist()

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        t, scale, std, u, (a, b), to_s, e, e_u = walk.plan[k]
        if std:
            x_t = (x_t * scale).add_(walk.noise(x_t, walk.times[k], t), alpha=std)
        x0 = walk.denoise(x_t, t)
        x_s = (x_t * a).add_(x0, alpha=b)
        if to_s[3]:
            a, b, c, d = to_s
            x_u, x_s = x_s, (x_t * a).add_(x0, alpha=b)
            if e_u:
                x_u.add_(walk.noise(x_t, walk.times[k], u), alpha=e_u)
            x_s.add_(walk.denoise(x_u, u), alpha=d)
            if c:
                x_s.add_(x_u, alpha=c)
        return x_s.add_(walk.noise(x_t, walk.times[k], walk.times[k + 1]), alpha=e) if e else x_s


class Ends(NamedTuple):
    """Where a slope is taken: dx/dt = p x + q x0 there."""

    t: float
    alpha: float
    sigma: float
    lam: float
    p: float
    q: float


def _ends(schedule: Schedule, at: Path) -> list[Ends]:
    return [Ends(*place, *slope) for place, slope in zip(zip(*at, strict=True), slopes(schedule, at.t), strict=True)]


def straight(start: Ends, end: Ends) -> tuple[float, float]:
    """The step of constant eps and x0 (DDIM's), as weights of x and x0."""
    kept = end.sigma / start.sigma
    return kept, end.alpha - kept * start.alpha


def tangent(start: Ends, end: Ends) -> tuple[float, float]:
    """Euler's step in t."""
    return 1 + (end.t - start.t) * start.p, (end.t - start.t) * start.q


def middle_lam(schedule: Schedule, start: Path, end: Path) -> list[float]:
    """The times half way in lam; half way in t where lam is infinite."""
    lam = torch.tensor([start.lam, end.lam], dtype=torch.float64).mean(0)
    t = torch.tensor([start.t, end.t], dtype=torch.float64).mean(0)
    return torch.where(lam.isfinite(), schedule.time(2 * lam.nan_to_num(0, 0, 0)), t).tolist()


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


@dataclass(frozen=True)
class DPM2(Churned):
    """DPM-Solver-2, also known as DPM2 and KDPM2: half a step in lam, then the whole with the eps found there.

        x_u / alpha_u = x_t / alpha_t + (r_u - r_t) eps_t;   r = sigma / alpha, r_u = sqrt(r_t r_s)
        x_s / alpha_s = x_t / alpha_t + (r_s - r_t) eps_u

    With eta > 0 the step goes down to r_down instead and noise brings it up again: r_s^2 = r_down^2 + r_up^2, r_up =
    eta r_s sqrt(1 - (r_s / r_t)^2). Order 2 (1 with noise), two evaluations a step: 2 n - 1 in a walk. A step from alpha_t = 0 is
    the midpoint method in t.

    Args:
        eta: Share of the ancestral noise; 1 is "DPM2 ancestral".

    Reference: Lu et al., DPM-Solver, 2022, algorithm 1, arXiv:2206.00927; Karras et al. 2022, algorithm 2 for the churn
    """

    eta: float = 0.0

    order = 2

    def evaluations(self, n: int) -> int:
        return 2 * n - 1

    def middles(self, schedule: Schedule, start: Path, end: Path) -> list[float]:
        return middle_lam(schedule, start, _down(start, end, self.eta))

    def moves(self, start: Ends, middle: Ends, end: Ends) -> Sequence[tuple[float, ...]]:
        if end.sigma == 0:
            return [straight(start, end)]
        if start.alpha == 0:
            dt = end.t - start.t
            return [tangent(start, middle), (1.0, 0.0, dt * middle.p, dt * middle.q)]
        down, up = _shares(start.alpha / start.sigma, end.alpha / end.sigma, self.eta)
        g = end.sigma * down - start.sigma * end.alpha / start.alpha
        second = (end.alpha / start.alpha, 0.0, g / middle.sigma, -g * middle.alpha / middle.sigma)
        return [straight(start, middle), second, (end.sigma * up,)]


@dataclass(frozen=True)
class DPMpp2S(Churned):
    """DPM-Solver++(2S): half a step in lam, then the whole with the x0 found there.

        x_u = (sigma_u / sigma_t) x_t + alpha_u (1 - exp(-h / 2)) x0;   x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - exp(-h)) x0_u

    Order 2 (1 with noise), two evaluations a step: 2 n - 1 in a walk.

    Args:
        eta: Share of the ancestral noise, as in `DPM2`; 1 is "DPM++ 2S ancestral".

    Reference: Lu et al., DPM-Solver++, 2022, algorithm 1. arXiv:2211.01095
    """

    eta: float = 0.0

    order = 2

    def evaluations(self, n: int) -> int:
        return 2 * n - 1

    def middles(self, schedule: Schedule, start: Path, end: Path) -> list[float]:
        return middle_lam(schedule, start, _down(start, end, self.eta))

    def moves(self, start: Ends, middle: Ends, end: Ends) -> Sequence[tuple[float, ...]]:
        if end.sigma == 0:
            return [straight(start, end)]
        down, up = _shares(start.alpha / start.sigma, end.alpha / end.sigma, self.eta)
        kept = end.sigma * down / start.sigma
        return [straight(start, middle), (kept, 0.0, 0.0, end.alpha - kept * start.alpha), (end.sigma * up,)]


@dataclass(frozen=True)
class DPMppSDE(DPMpp2S):
    """DPM-Solver++(2S) on the reverse SDE, noise in the middle of each step as well as at its end.

    As `DPMpp2S`, with the middle half way in lam to the end of the step, and reached by an ancestral step too. Order 1, two
    evaluations a step: 2 n - 1 in a walk.

    Args:
        eta: Share of the ancestral noise.

    Reference: after Lu et al., DPM-Solver++, 2022, algorithm 1 and section 5 (k-diffusion's sample_dpmpp_sde). arXiv:2211.01095
    """

    eta: float = 1.0

    order = 1

    def middles(self, schedule: Schedule, start: Path, end: Path) -> list[float]:
        return middle_lam(schedule, start, end)

    def moves(self, start: Ends, middle: Ends, end: Ends) -> Sequence[tuple[float, ...]]:
        if end.sigma == 0:
            return [straight(start, end)]
        _, second, (e,) = super().moves(start, middle, end)
        down, up = _shares(start.alpha / start.sigma, middle.alpha / middle.sigma, self.eta)
        kept = middle.sigma * down / start.sigma
        return [(kept, middle.alpha - kept * start.alpha), second, (e, middle.sigma * up)]


def _shares(snr_t: float, snr_s: float, eta: float) -> tuple[float, float]:
    """The ancestral split of sigma_s: what is kept and what is drawn afresh, squares summing to 1; given alpha / sigma."""
    up = min(1.0, eta * (1 - (snr_t / snr_s) ** 2) ** 0.5)
    return (1 - up**2) ** 0.5, up


def _down(start: Path, end: Path, eta: float) -> Path:
    """The ends with lam where the deterministic part of an ancestral step stops."""
    if not eta:
        return end
    lam = []
    for lam_t, lam_s in zip(start.lam, end.lam, strict=True):
        down, _ = _shares(math.exp(lam_t - lam_s), 1.0, eta) if lam_s < math.inf else (1.0, 0.0)
        lam.append(lam_s - math.log(down) if down else math.inf)
    return end._replace(lam=lam)
