"""What all metrics share: they see samples a part at a time, and parts seen elsewhere can be added.

Metrics compare rows of features, (B, ...), flattened to (B, D); where features come from is the caller's choice. Distances are
Euclidean. The order of the samples and how they were cut into parts make no difference beyond rounding, as long as no more are
seen than a metric keeps.

An interval speaks of the samples alone: the reference is fixed, a part of what is measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Self

import torch
from torch import Tensor

from unnoise.tensor import Rng

LIMIT = 20_000  # rows that are kept of a stream where all pairs are compared
LEVEL = 0.95  # of intervals


class Estimate(NamedTuple):
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float


class Metric(ABC):
    """Numbers that compare the samples seen so far with reference data, given at construction."""

    @abstractmethod
    def update(self, x: Tensor) -> None:
        """See more samples (or their features), (B, ...)."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """See what another metric with the same reference has seen."""

    @abstractmethod
    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        """The numbers with their intervals, by name; ValueError before there are enough samples."""

    def compute(self) -> dict[str, float]:
        """The numbers, by name; ValueError before there are enough samples."""
        return {name: found.value for name, found in self.estimate().items()}


class Kept:
    """Rows of a stream: all of them up to `limit`, of more a random subset, which is a function of their positions.

    Args:
        limit: How many are kept at most.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.n = limit, 0
        self._rows: list[Tensor] = []
        self._keys: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        """See more rows, (B, D)."""
        self._rows.append(x)
        self._keys.append(Rng(0, torch.arange(self.n, self.n + len(x))).bits(1, "kept")[:, 0])
        self.n += len(x)
        if sum(map(len, self._rows)) > 2 * self.limit:
            self._thin()

    def merge(self, other: Kept) -> None:
        """See what another has kept."""
        self._rows, self._keys, self.n = self._rows + other._rows, self._keys + other._keys, self.n + other.n

    @property
    def rows(self) -> Tensor:
        """Those that are kept, in their order, (N, D)."""
        self._thin()
        return self._rows[0]

    def _thin(self) -> None:
        keys = torch.cat(self._keys)
        chosen = keys.argsort(stable=True)[: self.limit].sort().values
        whole = len(chosen) == len(keys)
        rows = torch.cat(self._rows) if len(self._rows) > 1 else self._rows[0]
        self._rows, self._keys = [rows if whole else rows[chosen]], [keys if whole else keys[chosen]]


class Gathered(Metric):
    """A metric that needs its samples at once and keeps them, on the CPU: `limit` of them, a random subset of more."""

    limit = LIMIT

    def __init__(self) -> None:
        self.kept = Kept(self.limit)

    def update(self, x: Tensor) -> None:
        self.kept.add(rows(x, torch.float32))

    def merge(self, other: Self) -> None:
        self.kept.merge(other.kept)

    @property
    def seen(self) -> Tensor:
        """The samples, (N, D)."""
        if not self.kept.n:
            raise ValueError(f"{type(self).__name__} has seen no samples yet")
        return self.kept.rows


def rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Samples as rows (B, D) on the CPU; ValueError for values that are not finite."""
    x = x.detach().flatten(1).to("cpu", dtype)
    if not bool(torch.isfinite(x).all()):
        raise ValueError("samples hold values that are not finite: there is nothing to measure")
    return x


def some(x: Tensor, limit: int = LIMIT) -> Tensor:
    """Rows as a metric would keep them of its samples: all, or a random subset; (N, D), float32."""
    kept = Kept(limit)
    kept.add(rows(x, torch.float32))
    return kept.rows
