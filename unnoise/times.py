"""Which times a walk visits: n of them, from 1 (noise) strictly down. The walk's last act is to denoise at the last one.

No spacing is best everywhere: uniform in log-SNR suits schedules of moderate range, uniform in t those whose noise grows huge.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unnoise.schedule import Schedule

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
        if not (0 <= self.values[-1] and self.values[0] <= 1 and all(a > b for a, b in zip(self, self[1:], strict=False))):
            raise ValueError(f"times must fall strictly within [0, 1], given {[round(t, 6) for t in self.values[:8]]}")

    def __getitem__(self, k):  # type: ignore[no-untyped-def]
        return self.values[k]

    def __len__(self) -> int:
        return len(self.values)


class Times(ABC):
    """A rule for the times: called with a schedule and a number, it gives that many."""

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
class Uniform(Times):
    """Evenly spaced in t."""

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        return 1 + u * (schedule.t_min - 1)


@dataclass(frozen=True)
class LogSNR(Times):
    """Evenly spaced in log(sigma / alpha).

    Reference: Lu et al., DPM-Solver, 2022, section 3.4. arXiv:2206.00927
    """

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        first, last = _log_ratio_ends(schedule)
        return schedule.time(-2 * (first + u * (last - first)))


@dataclass(frozen=True)
class Karras(Times):
    """Evenly spaced in (sigma / alpha)^(1 / rho): larger rho spends more of the walk on little noise.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, eq. 5. arXiv:2206.00364
    """

    rho: float = 7.0

    def at(self, schedule: Schedule, u: torch.Tensor) -> torch.Tensor:
        first, last = ((end / self.rho).exp() for end in _log_ratio_ends(schedule))
        return schedule.time(-2 * self.rho * (first + u * (last - first)).log())


def _log_ratio_ends(schedule: Schedule) -> torch.Tensor:
    """log(sigma / alpha) at t = 1, bounded, and at t_min."""
    ends = torch.tensor([1.0, schedule.t_min], dtype=torch.float64)
    return (schedule.log_snr(ends) / -2).clamp(max=LOG_RATIO_MAX)


__all__ = ["Given", "Karras", "LogSNR", "Times", "Uniform"]
