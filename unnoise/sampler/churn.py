"""Churn: noise added before a step of one or two evaluations, and taken away by it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
