"""The times of one walk, and rules that give them."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from unnoise.schedule import Schedule


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

    @property
    def unfitted(self) -> Times:
        """The rule for samplers that no walk was fitted with: this one, where none was."""
        return self


@dataclass(frozen=True)
class Final(Times):
    """Another rule's times, and then t_min as the walk's end: there it stops without denoising, as some published walks do.

    Where the rule's own last time is the end, it is not repeated.

    Args:
        times: The rule.
        data: End at t = 0 instead, by a step of the sampler's own.
    """

    times: Times
    data: bool = False

    def __call__(self, schedule: Schedule, n: int) -> Given:
        values, end = self.times(schedule, n).values, 0.0 if self.data else schedule.t_min
        return Given(values if values[-1] <= end else (*values, end), final=True)


@dataclass(frozen=True)
class One(Times):
    """The time 1 alone: for models that answer there and nowhere else, as those of `loss.Autoencoding` and `loss.Adversarial`."""

    def __call__(self, schedule: Schedule, n: int) -> Given:
        """The one time; ValueError for any other number."""
        if n != 1:
            raise ValueError(f"steps: this model answers at t = 1 alone; 1 is expected, given {n}")
        return Given((1.0,))
