"""A walk that begins lower down."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field

import torch

from unnoise.schedule import Schedule
from unnoise.times.base import Given, Times
from unnoise.times.spaced import LogSNR

MOST = 32  # times as many as are asked for, of which most lie above the start


@dataclass(frozen=True)
class Below(Times):
    """n times from a share of noise down, spaced as another rule spaces its own below it.

        start where  sigma / alpha = tan(strength pi / 2)

    so that strength 0 is data and 1 noise, alike on every schedule.

    Args:
        strength: In (0, 1].
        times: The other rule.

    Raises:
        ValueError: If strength leaves (0, 1], or in a call if it lies below the schedule's t_min, or the rule has too few times.
    """

    strength: float = 0.5
    times: Times = field(default_factory=LogSNR)

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength must lie in (0, 1], given {self.strength:g}")

    def __call__(self, schedule: Schedule, n: int) -> Given:
        angle = torch.tensor(self.strength * math.pi / 2, dtype=torch.float64)
        start = float(schedule.time(-2 * angle.tan().log())) if self.strength < 1 else 1.0
        if start <= schedule.t_min:
            raise ValueError(f"strength {self.strength:g} is less noise than {schedule!r} has at its least")

        def below(m: int) -> list[float]:
            return [t for t in self.times(schedule, m) if t < start]

        if len(below(MOST * n)) < n - 1:
            raise ValueError(f"{self.times!r} has fewer than {n} times below strength {self.strength:g}; take fewer steps")
        m = bisect.bisect_left(range(n, MOST * n), n - 1, key=lambda m: len(below(m))) + n
        return Given((start, *below(m)[-(n - 1) :][: n - 1]), self.times(schedule, m).final)
