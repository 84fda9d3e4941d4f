"""Any linear measurement, as a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from unnoise.operator.base import Operator
from unnoise.operator.spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class Matrix(Operator):
    """y = matrix x with all of a sample's numbers in one row: for few numbers, or few measurements.

    Args:
        matrix: (M, D), where D is the number of values of a sample; y is (B, M). Its singular vectors take D^2 numbers.
    """

    matrix: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.matrix.to(x).mT

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        return (y @ self.matrix.to(y)).unflatten(1, like.shape[1:])

    def spectrum(self, like: Tensor) -> Spectrum:
        u, s, v = (part.to(like) for part in self._decomposed)
        shape = like.shape[1:]

        def seen(y: Tensor) -> Tensor:
            found = y.new_zeros(len(y), len(v))
            found[:, : u.shape[1]] = y @ u
            return found

        return Spectrum(lambda x: x.flatten(1) @ v.mT, lambda x: (x @ v).unflatten(1, shape), seen, s)

    @cached_property
    def _decomposed(self) -> tuple[Tensor, Tensor, Tensor]:
        """U (M, min(M, D)), the singular values (D,), 0 past the last, and V^T (D, D)."""
        u, s, v = torch.linalg.svd(self.matrix.double().cpu())
        return u[:, : len(s)], torch.cat([s, s.new_zeros(len(v) - len(s))]), v
