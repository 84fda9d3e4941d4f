"""Singular values in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

CUT = 3e-6  # of the largest singular value: below it nothing counts as measured, in float32


@dataclass(frozen=True)
class Spectrum:
    """A = U S V^T as functions, with every coordinate of V, also those of which A sees nothing.

    Attributes:
        into: V^T x. Unitary; its coordinates may be complex (Fourier), noise is then drawn in x.
        back: V of coordinates: the inverse of `into`.
        seen: U^T y, each value at the coordinate that it measures; 0 elsewhere.
        s: The singular values, 0 where nothing is seen; broadcasts over `into(x)`.
    """

    into: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]
    seen: Callable[[Tensor], Tensor]
    s: Tensor

    @cached_property
    def known(self) -> Tensor:
        """Whether anything is seen of a coordinate."""
        return self.s > CUT * self.s.max()

    @cached_property
    def inverse(self) -> Tensor:
        """1 / s, 0 where nothing is seen."""
        return torch.where(self.known, 1 / self.s.where(self.known, torch.ones_like(self.s)), 0)


def same(x: Tensor) -> Tensor:
    """x: where the coordinates are the values themselves."""
    return x
