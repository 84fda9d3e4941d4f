"""Multistep samplers: one evaluation a step, and memory of the last few.

    x_s = a x_t + b x0 + sum_j b_j m_j + c noise

where m_j are earlier values of the unknown, x0 or eps, newest first.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from unnoise.sampler.base import Path, Sampler, Walk, path
from unnoise.schedule import Schedule

Rule = Literal["midpoint", "heun"]


class Terms(NamedTuple):
    """The numbers of one step; eps = to_eps[0] x_t + to_eps[1] x0."""

    a: float
    b: float
    older: tuple[float, ...]
    c: float
    to_eps: tuple[float, float]


class Multistep(Sampler):
    """A member writes `weights`: the newest value's and the older ones'."""

    unknown: ClassVar[Literal["x0", "eps"]] = "x0"
    lower: bool = False

    @abstractmethod
    def weights(self, at: Path, k: int, order: int) -> tuple[float, list[float], float]:
        """Of the k-th step: kept share of x_t, weights of the unknown's values (newest first; `order` many), std of the noise."""

    def orders(self, places: Sequence[float], times: Sequence[float]) -> list[int]:
        """The order of each step: it grows as values gather, and is 1 where the method's variable is infinite."""
        orders: list[int] = []
        for k in range(len(places) - 1):
            finite = math.isfinite(places[k]) and math.isfinite(places[k + 1])
            behind = orders[-1] if k and math.isfinite(places[k - 1]) else 0
            orders.append(min(self.order, behind + 1) if finite else 1)
        return falling(orders, times) if self.lower else orders

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Terms]:
        at = path(schedule, times)
        return [self._terms(at, k, order) for k, order in enumerate(self.orders(at.lam, times))]

    def _terms(self, at: Path, k: int, order: int) -> Terms:
        _, alpha, sigma, _ = at
        to_eps = (1 / sigma[k], -alpha[k] / sigma[k])
        if self.unknown == "eps" and order == 1 and 0 in (alpha[k], sigma[k + 1]):  # the limit, from noise or to data
            return Terms(sigma[k + 1] / sigma[k], alpha[k + 1], (), 0.0, to_eps)
        a, (b, *older), c = self.weights(at, k, order)
        if self.unknown == "eps":
            a, b = a + b * to_eps[0], b * to_eps[1]
        return Terms(a, b, tuple(older), c, to_eps)

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        a, b, older, c, to_eps = walk.plan[k]
        x0 = walk.denoise(x_t, walk.times[k])
        x_s = (x_t * a).add_(x0, alpha=b)
        for weight, m in zip(older, walk.past, strict=False):
            x_s.add_(m, alpha=weight)
        if c:
            x_s.add_(walk.noise(x_t, walk.times[k], walk.times[k + 1]), alpha=c)
        if self.order > 1:
            newest = x0 if self.unknown == "x0" else (x_t * to_eps[0]).add_(x0, alpha=to_eps[1])
            walk.past = [newest, *walk.past[: self.order - 2]]
        return x_s


def falling(orders: list[int], times: Sequence[float]) -> list[int]:
    """Orders that fall to 1 with the last evaluation of a walk, which in most walks is the last denoising."""
    evaluations = len(times) - getattr(times, "final", False)
    return [min(order, evaluations - k) for k, order in enumerate(orders)]


def differences(at: Path, k: int, order: int, published: bool) -> list[list[float]]:
    """The unknown's derivatives in lam at t, times h and h^2, as rows of weights of its last values, newest first."""
    lam, h = at.lam, at.lam[k + 1] - at.lam[k]
    if order == 1:
        return []
    r = (lam[k] - lam[k - 1]) / h
    if order == 2:
        return [[1 / r, -1 / r]]
    older = (lam[k - 1] - lam[k - 2]) / h
    rise, past = [1 / r, -1 / r, 0.0], [0.0, 1 / older, -1 / older]
    bend = [(p - q) / (r + older) for p, q in zip(rise, past, strict=True)]
    slope = [p + r * q for p, q in zip(rise, bend, strict=True)]
    return [slope, bend if published else [2 * q for q in bend]]


def exponential(at: Path, k: int, order: int, rule: Rule, gains: tuple[float, float, float], published: bool) -> list[float]:
    """gains[0] m + gains[1] h m' + gains[2] h^2 m'' as weights of the last values; "midpoint": gains[0] / 2 for gains[1]."""
    weights = [gains[0], *[0.0] * (order - 1)]
    first = gains[0] / 2 if order == 2 and rule == "midpoint" else gains[1]
    for gain, row in zip((first, gains[2]), differences(at, k, order, published), strict=False):
        weights = [w + gain * d for w, d in zip(weights, row, strict=True)]
    return weights


@dataclass(frozen=True)
class DPMpp2M(Multistep):
    """DPM-Solver++(2M), and with eta > 0 its stochastic form SDE-DPM-Solver++(2M): x0 drawn out along the last two evaluations.

        x_s = (sigma_s / sigma_t) exp(-eta h) x_t + alpha_s (g x0 + g_1 (x0 - x0_past) / r) + std noise
        std = sigma_s sqrt(1 - exp(-2 eta h))
        g = 1 - exp(-(1 + eta) h);   r = h_past / h;   g_1 = g / 2 ("midpoint") or 1 - g / ((1 + eta) h) ("heun")

    Order 2, one evaluation a step; the first step is of order 1 (eta = 0: DDIM's).

    Args:
        eta: Variance of the noise, as a share of the reverse equation's; 0 is deterministic.
        rule: How the slope of x0 counts.
        lower: The order falls with the last evaluations, the last of them of order 1: steadier in walks of few steps whose last
            time is final.

    Reference: Lu et al., DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models, 2022, algorithm 2 and
    section 5. arXiv:2211.01095
    """

    eta: float = 0.0
    rule: Rule = "midpoint"
    lower: bool = False

    order = 2
    halved: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self, self.eta)

    def weights(self, at: Path, k: int, order: int) -> tuple[float, list[float], float]:
        h = at.lam[k + 1] - at.lam[k]
        total = (1 + self.eta) * h
        g = -math.expm1(-total)
        g_1 = 1 - g / total
        gains = (g, g_1, 0.5 - g_1 / total)
        weights = exponential(at, k, order, self.rule, gains, self.halved)
        kept = at.sigma[k + 1] / at.sigma[k] * (math.exp(-self.eta * h) if self.eta else 1.0)
        std = at.sigma[k + 1] * (-math.expm1(-2 * self.eta * h)) ** 0.5 if self.eta else 0.0
        return kept, [at.alpha[k + 1] * w for w in weights], std


@dataclass(frozen=True)
class DPMpp3M(DPMpp2M):
    """DPM-Solver++(3M), and with eta > 0 its stochastic form: as `DPMpp2M` with the bend of x0 too.

        x_s = ... + alpha_s (g x0 + g_1 h x0' + g_2 h^2 x0'');   g_2 = 1/2 - g_1 / ((1 + eta) h)

    with x0' and x0'' of the parabola in lam through the last three evaluations. Order 3, one evaluation a step.

    Args:
        eta, lower: As in `DPMpp2M`.
        rule: Of the second step, the only one of order 2.
        halved: Half the second derivative, as all published code has it: then of order 2 with a small error.

    Reference: Lu et al. 2022, appendix B (multistep, there for order 2); third order as in its reference code. arXiv:2211.01095
    """

    rule: Rule = "heun"
    halved: bool = False  # type: ignore[misc]

    order = 3


@dataclass(frozen=True)
class DPMSolver(Multistep):
    """DPM-Solver as a multistep method: exponential integrator in lam with eps for its unknown.

        x_s = (alpha_s / alpha_t) x_t - (1 + eta) sigma_s (g eps + g_1 h eps' + g_2 h^2 eps'') + std noise
        std = sigma_s sqrt(eta (exp(2 h) - 1))
        g = exp(h) - 1;   g_1 = g / h - 1 ("heun"; "midpoint" has g / 2);   g_2 = g_1 / h - 1/2

    One evaluation a step. Under strong guidance `DPMpp2M` is steadier.

    Args:
        order: 1 to 3; 1 is DDIM (at eta = 0).
        eta, rule, lower, halved: As in `DPMpp3M`.

    Reference: Lu et al., DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps, 2022, eq.
    3.6-3.7, arXiv:2206.00927; stochastic form: Lu et al., DPM-Solver++, 2022, eq. 18, arXiv:2211.01095
    """

    order: int = 2
    eta: float = 0.0
    rule: Rule = "midpoint"
    lower: bool = False
    halved: bool = False

    unknown = "eps"

    def __post_init__(self) -> None:
        _check(self, self.eta)

    def weights(self, at: Path, k: int, order: int) -> tuple[float, list[float], float]:
        h = at.lam[k + 1] - at.lam[k]
        g = math.expm1(h)
        g_1 = g / h - 1
        weights = exponential(at, k, order, self.rule, (g, g_1, g_1 / h - 0.5), self.halved)
        std = at.sigma[k + 1] * (self.eta * math.expm1(2 * h)) ** 0.5 if self.eta else 0.0
        return at.alpha[k + 1] / at.alpha[k], [-(1 + self.eta) * at.sigma[k + 1] * w for w in weights], std


def _check(sampler: Multistep, eta: float) -> None:
    if not 1 <= sampler.order <= 3:
        raise ValueError(f"{type(sampler).__name__}: order must be 1, 2 or 3, given {sampler.order}")
    if not 0 <= eta <= 1:
        raise ValueError(f"{type(sampler).__name__}: eta must lie in [0, 1], given {eta:g}")
