"""What was measured, and how noisy it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.operator.base import Operator


@dataclass(frozen=True, eq=False)
class Measurement:
    """y = operator(x) + std noise: what methods for inverse problems are given.

    Args:
        operator: A.
        y: The measurement, (B, ...), or (1, ...) for all samples.
        std: Of the noise, in units of y (of complex y: of either part); 0 where there is none.

    Raises:
        ValueError: If std is negative, or y is not finite.
    """

    operator: Operator
    y: Tensor
    std: float = 0.0

    def __post_init__(self) -> None:
        if not self.std >= 0:
            raise ValueError(f"Measurement: std must be at least 0, given {self.std:g}")
        if not torch.isfinite(torch.view_as_real(self.y) if self.y.is_complex() else self.y).all():
            raise ValueError("Measurement: y holds values that are not finite; leave out by a Mask what was not measured")

    def residual(self, x: Tensor) -> Tensor:
        """y - A(x)."""
        found = self.operator(x)
        return self.y.to(found.device, found.dtype) - found

    def value(self, like: Tensor) -> Tensor:
        """y in the type and on the device of an x."""
        dtype = like.dtype.to_complex() if self.y.is_complex() else like.dtype
        return self.y.to(like.device, dtype)

    def repeated(self, n: int) -> Measurement:
        """The same for n neighbouring rows in the place of each."""
        return self if len(self.y) == 1 else Measurement(self.operator, self.y.repeat_interleave(n, 0), self.std)
