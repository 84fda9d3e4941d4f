"""Times that were fitted to a model, for the budgets they were fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unnoise.schedule import Schedule
from unnoise.times.base import Given, Times
from unnoise.times.spaced import Auto


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

    `unnoise tune` writes it into a run. Its walks are for `sampler.Fitted`, which follows the weights too; with any other
    sampler a model samples by `unfitted`.

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

    @property
    def unfitted(self) -> Times:
        return self.otherwise.unfitted
