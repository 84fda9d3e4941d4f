"""Times spaced by a formula, in continuous time from 1 to the schedule's t_min."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch

from unnoise.schedule import Schedule
from unnoise.times.base import Given, Times

LOG_RATIO_MAX = 10.0  # of log(sigma / alpha): where alpha_1 = 0, a grid in this variable starts its even part here


class Spaced(Times):
    """Times spaced by a formula, from 1 to t_min."""

    @abstractmethod
    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        """The times at shares u of the way, (n,) in float64; u rises from 0 (t = 1) to 1 (t = t_min)."""

    def __call__(self, schedule: Schedule, n: int) -> Given:
        """n times from 1 to the schedule's t_min; for n = 1 the time 1 alone.

        Raises:
            ValueError: For n < 1.
        """
        if n < 1:
            raise ValueError(f"steps: at least 1 is expected, given {n}")
        t = self.at(schedule, torch.linspace(0, 1, n, dtype=torch.float64)).tolist()
        ends = [1.0, *t[1:-1], schedule.t_min] if n > 1 else [1.0]
        return Given(tuple(ends))


@dataclass(frozen=True)
class Uniform(Spaced):
    """Evenly spaced in t."""

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        return 1 + u * (schedule.t_min - 1)


@dataclass(frozen=True)
class LogSNR(Spaced):
    """Evenly spaced in log(sigma / alpha).

    Reference: Lu et al., DPM-Solver, 2022, section 3.4. arXiv:2206.00927
    """

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        first, last = _log_ratio_ends(schedule)
        return schedule.time(-2 * (first + u * (last - first)))


@dataclass(frozen=True)
class Karras(Spaced):
    """Evenly spaced in (sigma / alpha)^(1 / rho): larger rho spends more of the walk on little noise.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, eq. 5. arXiv:2206.00364
    """

    rho: float = 7.0

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        first, last = ((end / self.rho).exp() for end in _log_ratio_ends(schedule))
        return schedule.time(-2 * self.rho * (first + u * (last - first)).log())


@dataclass(frozen=True)
class Quadratic(Spaced):
    """Evenly spaced in sqrt(t): more of the walk on little noise.

    Reference: Song et al., Denoising Diffusion Implicit Models, 2021, appendix D.2. arXiv:2010.02502
    """

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        return (1 + u * (schedule.t_min**0.5 - 1)) ** 2


@dataclass(frozen=True)
class PolyExponential(Spaced):
    """log(sigma / alpha) falls as the `rho`-th power of the way back: rho = 1 is `LogSNR`, larger rho hurries at first.

    Reference: Katherine Crowson, k-diffusion (get_sigmas_polyexponential)
    """

    rho: float = 1.0

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        first, last = _log_ratio_ends(schedule)
        return schedule.time(-2 * (last + (1 - u) ** self.rho * (first - last)))


@dataclass(frozen=True)
class Beta(Spaced):
    """t at even quantiles of a Beta law: below 1 its two numbers crowd the times at the ends of the walk.

    Reference: Lee et al., Beta Sampling is All You Need, 2024, section 4. arXiv:2407.12173
    """

    a: float = 0.6
    b: float = 0.6

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        angle = torch.linspace(0, math.pi / 2, 2**14 + 1, dtype=torch.float64)  # t = sin(angle)^2 takes the poles away
        inner = (angle[1:] + angle[:-1]) / 2
        mass = (inner.sin() ** (2 * self.a - 1) * inner.cos() ** (2 * self.b - 1)).cumsum(0)
        below = torch.cat([torch.zeros_like(mass[:1]), mass / mass[-1]])
        right = torch.searchsorted(below, 1 - u).clamp(1, len(mass))
        share = (1 - u - below[right - 1]) / (below[right] - below[right - 1])
        t = torch.lerp(angle[right - 1], angle[right], share).sin() ** 2
        return schedule.t_min + (1 - schedule.t_min) * t


@dataclass(frozen=True)
class Auto(Spaced):
    """Evenly spaced in the turns that walks take, which lie where noise and signal of unit variance are of like size.

        density over lam = log(alpha / sigma):  sigmoid((lam - low) / rise) sigmoid((high - lam) / fall)

    It asks the schedule alone how much of its range is before, within and after these turns: steps where nothing is
    seen yet are few and large whether the noise begins at 10 or at 10,000, and so are those where only grain is left. Where
    `LogSNR` wins (noise of moderate range) it is close to that, where `Uniform` does (cosine) close to that.

    Args:
        low, rise: Where the density has risen to half on the noisy side, and how fast.
        high, fall: The same on the clean side.
    """

    low: float = -2.0
    rise: float = 1.2
    high: float = 2.4
    fall: float = 0.9

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        first, last = (-_log_ratio_ends(schedule)).tolist()
        lam = torch.linspace(first, last, 2**12 + 1, dtype=torch.float64)
        density = ((lam - self.low) / self.rise).sigmoid() * ((self.high - lam) / self.fall).sigmoid()
        mass = torch.cat([torch.zeros_like(lam[:1]), ((density[1:] + density[:-1]) / 2).cumsum(0)])
        return schedule.time(2 * _interpolate(u * mass[-1], mass, lam))


def _interpolate(at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """y at the places `at`, linear between the points (x, y); x rises."""
    right = torch.searchsorted(x, at).clamp(1, len(x) - 1)
    share = (at - x[right - 1]) / (x[right] - x[right - 1])
    return torch.lerp(y[right - 1], y[right], share)


def _log_ratio_ends(schedule: Schedule) -> torch.Tensor:
    """log(sigma / alpha) at t = 1, bounded, and at t_min."""
    ends = torch.tensor([1.0, schedule.t_min], dtype=torch.float64)
    return (schedule.log_snr(ends) / -2).clamp(max=LOG_RATIO_MAX)
