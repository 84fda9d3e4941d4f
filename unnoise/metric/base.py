"""What all metrics share: they see samples a part at a time, and parts seen elsewhere can be added.

Metrics compare rows of features, (B, ...), flattened to (B, D); where features come from is the caller's choice. Distances are
Euclidean. The order of the samples and how they were cut into parts make no difference beyond rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor


class Metric(ABC):
    """Numbers that compare the samples seen so far with reference data, given at construction."""

    @abstractmethod
    def update(self, x: Tensor) -> None:
        """See more samples (or their features), (B, ...)."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """See what another metric with the same reference has seen."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The numbers, by name; ValueError before there are enough samples."""


class Gathered(Metric):
    """A metric that needs all its samples at once and keeps them, on the CPU."""

    def __init__(self) -> None:
        self.parts: list[Tensor] = []

    def update(self, x: Tensor) -> None:
        self.parts.append(rows(x, torch.float32))

    def merge(self, other: Self) -> None:
        self.parts += other.parts

    @property
    def seen(self) -> Tensor:
        """All samples, (N, D)."""
        if not self.parts:
            raise ValueError(f"{type(self).__name__} has seen no samples yet")
        return torch.cat(self.parts)


def rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Samples as rows (B, D) on the CPU; ValueError for values that are not finite."""
    x = x.detach().flatten(1).to("cpu", dtype)
    if not bool(torch.isfinite(x).all()):
        raise ValueError("samples hold values that are not finite: there is nothing to measure")
    return x
