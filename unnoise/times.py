"""Which times a walk visits: n of them, strictly falling. The walk's last act is to denoise at the last one.

No spacing is best everywhere: uniform in log-SNR suits schedules of moderate range, uniform in t those whose noise grows huge.
Rules of the first kind speak of continuous time and go from 1 to the schedule's t_min; those of the second, of the entries of a
table, 0 .. T - 1 (`Discrete`, `Sigmas`), as published samplers have them. Entries that rounding makes equal are merged.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from unnoise.schedule import Schedule, Table

LOG_RATIO_MAX = 10.0  # of log(sigma / alpha): where alpha_1 = 0, a grid in this variable starts its even part here


@dataclass(frozen=True)
class Given(Sequence[float]):
    """The times of one walk, strictly falling in [0, 1].

    Args:
        values: The times.
        final: The walk ends on the last of them as it is, without denoising there.

    Raises:
        ValueError: If there are none, or they do not fall strictly, or leave [0, 1].
    """

    values: tuple[float, ...]
    final: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(t) for t in self.values))
        if not self.values:
            raise ValueError("a walk needs at least one time")
        if not (self.values[-1] >= 0 and self.values[0] <= 1 and all(a > b for a, b in itertools.pairwise(self))):
            raise ValueError(f"times must fall strictly within [0, 1], given {[round(t, 6) for t in self.values[:8]]}")

    def __getitem__(self, k):  # type: ignore[no-untyped-def]
        return self.values[k]

    def __len__(self) -> int:
        return len(self.values)


class Times(ABC):
    """A rule for the times: called with a schedule and a number, it gives that many."""

    @abstractmethod
    def __call__(self, schedule: Schedule, n: int) -> Given:
        """n times for a walk."""


@dataclass(frozen=True)
class Final(Times):
    """Another rule's times, and then t_min as the walk's end: there it stops without denoising, as some published walks do.

    Where the rule's own last time is t_min, that is the end.
    """

    times: Times

    def __call__(self, schedule: Schedule, n: int) -> Given:
        values = self.times(schedule, n).values
        return Given(values if values[-1] <= schedule.t_min else (*values, schedule.t_min), final=True)


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


class Tabled(Times):
    """Entries of a schedule's table."""

    @abstractmethod
    def entries(self, size: int, n: int) -> Sequence[float]:
        """The entries, of a table of that size, in any order; not always whole."""

    def __call__(self, schedule: Schedule, n: int) -> Given:
        """The times of n entries, fewer where rounding made some equal.

        Raises:
            ValueError: If the schedule has no table, or the rule asks for more entries than it has.
        """
        name = type(self).__name__
        if not isinstance(schedule, Table):
            raise ValueError(f"{name} chooses entries of a table, given {schedule!r}; use Uniform, LogSNR or Karras")
        size = len(schedule)
        if not 1 <= n <= size:
            raise ValueError(f"steps: 1 to {size} are expected on a table of {size}, given {n}")
        chosen = sorted(set(self.entries(size, n)), reverse=True)
        if chosen[0] > size - 1 or chosen[-1] < 0:
            raise ValueError(f"{self!r}: entries {chosen[-1]:g} to {chosen[0]:g} leave the table of {size}")
        return Given(tuple((entry + 1) / size for entry in chosen))


@dataclass(frozen=True)
class Leading(Tabled):
    """Every (T // n)-th entry from `offset` on: the noisiest ones are left out.

    Args:
        offset: The first entry, 1 in some published models.
        spare: Count a place more, and drop the entry nearest to data: the spacing of walks that step on to data (DPM-Solver's).

    Reference: Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, 2023, table 2. arXiv:2305.08891
    """

    offset: int = 0
    spare: bool = False

    def entries(self, size: int, n: int) -> Sequence[float]:
        stride = size // (n + self.spare)
        if stride < 1:
            raise ValueError(f"{self!r}: a table of {size} has no {n + self.spare} such entries")
        return [k * stride + self.offset for k in range(int(self.spare), n + self.spare)]


@dataclass(frozen=True)
class Trailing(Tabled):
    """Every (T / n)-th entry from the noisiest down, rounded.

    Reference: Lin et al. 2023, table 2. arXiv:2305.08891
    """

    def entries(self, size: int, n: int) -> Sequence[float]:
        return [round(size - k * size / n) - 1 for k in range(n)]


@dataclass(frozen=True)
class Linspace(Tabled):
    """Evenly spaced entries with both ends.

    Args:
        rounded: To whole entries; else between them, as Euler's and Heun's published samplers have it.
        spare: As in `Leading`.

    Reference: Lin et al. 2023, table 2. arXiv:2305.08891
    """

    rounded: bool = True
    spare: bool = False

    def entries(self, size: int, n: int) -> Sequence[float]:
        last = n - 1 + self.spare
        even = [k * (size - 1) / max(last, 1) for k in range(int(self.spare), last + 1)] if last else [size - 1.0]
        return [round(entry) for entry in even] if self.rounded else even


@dataclass(frozen=True)
class Strided(Tabled):
    """Every i-th entry from 0, with the first whole i that gives n of them: "ddimN" in guided-diffusion.

    Reference: Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, reference code (space_timesteps).
    arXiv:2105.05233
    """

    def entries(self, size: int, n: int) -> Sequence[float]:
        for stride in range(1, size + 1):
            if len(range(0, size, stride)) == n:
                return range(0, size, stride)
        raise ValueError(f"Strided: no whole stride gives {n} entries of {size}")


@dataclass(frozen=True)
class Sections(Tabled):
    """The table cut into equal sections, in each the given number of evenly spaced entries with both ends: "10,20,30".

    Args:
        counts: Entries in each section, the one nearest to data first; empty: one section of all.

    Raises:
        ValueError: If the counts do not sum to n, or a section is smaller than its count.

    Reference: Nichol & Dhariwal, Improved DDPM, 2021, section 4, and reference code. arXiv:2102.09672
    """

    counts: tuple[int, ...] = ()

    def entries(self, size: int, n: int) -> Sequence[float]:
        counts = self.counts or (n,)
        if sum(counts) != n:
            raise ValueError(f"Sections: counts {counts} sum to {sum(counts)}, not to the {n} steps")
        chosen: list[float] = []
        start = 0
        for i, count in enumerate(counts):
            width = size // len(counts) + (i < size % len(counts))
            if count > width:
                raise ValueError(f"Sections: section {i} has {width} entries, {count} are asked for")
            stride = 1.0 if count <= 1 else (width - 1) / (count - 1)
            at = itertools.accumulate([stride] * (count - 1), initial=0.0)  # summed, as published lists are: halves round so
            chosen += [start + round(place) for place in at]
            start += width
        return chosen


@dataclass(frozen=True)
class Listed(Tabled):
    """Entries given one by one, in any order; n must be their number."""

    listed: tuple[float, ...]

    def entries(self, size: int, n: int) -> Sequence[float]:
        if n != len(self.listed):
            raise ValueError(f"Listed: {len(self.listed)} entries are given, not {n}")
        return self.listed


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
    rise: float = 1.0
    high: float = 2.0
    fall: float = 1.5

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        first, last = (-_log_ratio_ends(schedule)).tolist()
        lam = torch.linspace(first, last, 2**12 + 1, dtype=torch.float64)
        density = ((lam - self.low) / self.rise).sigmoid() * ((self.high - lam) / self.fall).sigmoid()
        mass = torch.cat([torch.zeros_like(lam[:1]), ((density[1:] + density[:-1]) / 2).cumsum(0)])
        return schedule.time(2 * _interpolate(u * mass[-1], mass, lam))


@dataclass(frozen=True)
class FittedWalk(Given):
    """The times of one walk with the weights of its steps (see `sampler.Fitted`); the last is where the walk has ended.

    Args:
        weights: A row for each step, of the velocities, newest first.
    """

    weights: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.weights) != len(self.values) - 1 or not all(0 < len(row) <= k + 1 for k, row in enumerate(self.weights)):
            raise ValueError(
                f"a fitted walk of {len(self.values)} times needs {len(self.values) - 1} rows of weights, row k of k + 1 at most"
            )

    @property
    def memory(self) -> int:
        """How many past velocities its steps look back on."""
        return max(len(row) for row in self.weights) - 1


@dataclass(frozen=True)
class Fitted(Times):
    """Walks that were fitted to one model, for some numbers of steps; for any other number another rule's times.

    `unnoise tune` writes it into a run. It needs `sampler.Fitted`, which follows the weights too; another sampler takes the times
    of a fitted walk as they are.

    Args:
        walks: Number of steps -> `times`, one more than that, and `weights`, a row a step.
        otherwise: The rule for other numbers of steps.
    """

    walks: Mapping[str, Mapping[str, Sequence[Any]]]
    otherwise: Times = field(default_factory=Auto)

    def __call__(self, schedule: Schedule, n: int) -> Given:
        walk = self.walks.get(str(n))
        if walk is None:
            return self.otherwise(schedule, n)
        return FittedWalk(tuple(walk["times"]), True, tuple(tuple(row) for row in walk["weights"]))


def _interpolate(at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """y at the places `at`, linear between the points (x, y); x rises."""
    right = torch.searchsorted(x, at).clamp(1, len(x) - 1)
    share = (at - x[right - 1]) / (x[right] - x[right - 1])
    return torch.lerp(y[right - 1], y[right], share)


def _log_ratio_ends(schedule: Schedule) -> torch.Tensor:
    """log(sigma / alpha) at t = 1, bounded, and at t_min."""
    ends = torch.tensor([1.0, schedule.t_min], dtype=torch.float64)
    return (schedule.log_snr(ends) / -2).clamp(max=LOG_RATIO_MAX)


__all__ = [
    "Auto",
    "Beta",
    "Final",
    "Fitted",
    "FittedWalk",
    "Given",
    "Karras",
    "Leading",
    "Linspace",
    "Listed",
    "LogSNR",
    "PolyExponential",
    "Quadratic",
    "Sections",
    "Strided",
    "Times",
    "Trailing",
    "Uniform",
]
