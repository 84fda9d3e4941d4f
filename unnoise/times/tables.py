"""Times on the entries of a table, as published samplers have them. Entries that rounding makes equal are merged."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from unnoise.schedule import Schedule, Table
from unnoise.times.base import Given, Times


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
