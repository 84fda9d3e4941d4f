"""Coarser values: not linear, but nearly so where it counts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unnoise.operator.base import Operator


def rounded(x: Tensor) -> Tensor:
    """The nearest whole number, with the gradient of x itself (straight through)."""
    return x + (x.round() - x).detach()


@dataclass(frozen=True)
class Quantize(Operator):
    """x rounded to so many even levels over [-1, 1]; its gradient is that of x (straight through). Its own pseudo-inverse."""

    levels: int = 8

    linear = False

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise ValueError(f"Quantize: at least 2 levels are expected, given {self.levels}")

    def __call__(self, x: Tensor) -> Tensor:
        step = 2 / (self.levels - 1)
        return rounded((x + 1) / step) * step - 1

    def pinv(self, y: Tensor, like: Tensor) -> Tensor:
        return y


@dataclass(frozen=True)
class Clip(Operator):
    """x with all beyond [low, high] cut off, as an overexposed picture is. Its own pseudo-inverse."""

    low: float = -0.5
    high: float = 0.5

    linear = False

    def __call__(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high)

    def pinv(self, y: Tensor, like: Tensor) -> Tensor:
        return y
