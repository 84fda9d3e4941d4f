"""Steps that are taken with what the network says half way in lam, with ancestral noise or without."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unnoise.sampler.base import Path
from unnoise.sampler.churn import Churned, Ends, straight, tangent
from unnoise.schedule import Schedule


class HalfWay(Churned):
    """A step with a second evaluation half way in lam to where its deterministic part stops."""

    eta: float

    order = 2

    def evaluations(self, n: int) -> int:
        return 2 * n - 1

    def middles(self, schedule: Schedule, start: Path, end: Path) -> list[float]:
        return _half_way(schedule, start, _down(start, end, self.eta))


@dataclass(frozen=True)
class DPM2(HalfWay):
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
class DPMpp2S(HalfWay):
    """DPM-Solver++(2S): half a step in lam, then the whole with the x0 found there.

        x_u = (sigma_u / sigma_t) x_t + alpha_u (1 - exp(-h / 2)) x0;   x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - exp(-h)) x0_u

    Order 2 (1 with noise), two evaluations a step: 2 n - 1 in a walk.

    Args:
        eta: Share of the ancestral noise, as in `DPM2`; 1 is "DPM++ 2S ancestral".

    Reference: Lu et al., DPM-Solver++, 2022, algorithm 1. arXiv:2211.01095
    """

    eta: float = 0.0

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
        return _half_way(schedule, start, end)

    def moves(self, start: Ends, middle: Ends, end: Ends) -> Sequence[tuple[float, ...]]:
        if end.sigma == 0:
            return [straight(start, end)]
        _, second, (e,) = super().moves(start, middle, end)
        down, up = _shares(start.alpha / start.sigma, middle.alpha / middle.sigma, self.eta)
        kept = middle.sigma * down / start.sigma
        return [(kept, middle.alpha - kept * start.alpha), second, (e, middle.sigma * up)]


def _half_way(schedule: Schedule, start: Path, end: Path) -> list[float]:
    """The times half way in lam; half way in t where lam is infinite."""
    lam = torch.tensor([start.lam, end.lam], dtype=torch.float64).mean(0)
    t = torch.tensor([start.t, end.t], dtype=torch.float64).mean(0)
    return torch.where(lam.isfinite(), schedule.time(2 * lam.nan_to_num(0, 0, 0)), t).tolist()


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
