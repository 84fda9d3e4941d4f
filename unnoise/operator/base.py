"""Operators: what an instrument, an accident or a wish makes of x.

An operator A takes x, (B, C, H, W), to y, (B, ...). A linear one has an adjoint, <A x, y> = <x, A^T y>, and a pseudo-inverse,
A pinv A = A of least norm; where it has singular values in closed form it tells them too (`spectrum`). Sizes are no part of
an operator: `like` is any x (its values are not read), for shape, type and device. Inner products of complex y are real parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.operator.solve import least_squares
from unnoise.operator.spectrum import Spectrum, same


class Operator(ABC):
    """y = A(x). A member writes `__call__`; a linear one with a closed form writes `spectrum` too."""

    linear: bool = True

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The measurement of x, without noise; differentiable."""

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        """A^T y, (B, *shape of x). Here by automatic differentiation of `__call__`.

        Raises:
            ValueError: If the operator is not linear.
        """
        self._linear_only("adjoint")
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.zeros(len(y), *like.shape[1:], dtype=_real(y), device=y.device).requires_grad_()
            return torch.autograd.grad(self(x), x, y.clone())[0]

    def spectrum(self, like: Tensor) -> Spectrum | None:
        """The singular values and vectors, where they are known in closed form."""
        return None

    def pinv(self, y: Tensor, like: Tensor) -> Tensor:
        """The least x whose measurement is nearest to y. By the spectrum, or by conjugate gradients in float64.

        Raises:
            ValueError: If the operator is not linear, and has no pseudo-inverse of its own.
        """
        self._linear_only("pseudo-inverse")
        spectrum = self.spectrum(like)
        if spectrum is not None:
            return spectrum.back(spectrum.seen(y) * spectrum.inverse)
        exact = y.to(torch.complex128 if y.is_complex() else torch.float64)
        return least_squares(self, lambda r: self.adjoint(r, like), exact).to(_real(y))

    def lift(self, y: Tensor, like: Tensor) -> Tensor:
        """y brought to the sides of x, for networks that are shown it: y itself where it has them, else pinv(y)."""
        return y if y.shape[2:] == like.shape[2:] and not y.is_complex() else self.pinv(y, like)

    def __matmul__(self, inner: Operator | Callable[[Tensor], Tensor]) -> Composed:
        """This operator after another, or after any differentiable function (a codec's `decode`)."""
        return Composed(self, inner if isinstance(inner, Operator) else Function(inner))

    def _linear_only(self, what: str) -> None:
        if not self.linear:
            raise ValueError(f"{type(self).__name__} is not linear and has no {what}; use a method of gradients (DPS)")


@dataclass(frozen=True)
class Composed(Operator):
    """outer(inner(x)): linear where both are."""

    outer: Operator
    inner: Operator

    @property
    def linear(self) -> bool:  # type: ignore[override]
        return self.outer.linear and self.inner.linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))

    def spectrum(self, like: Tensor) -> Spectrum | None:
        """That of the one, where the other is the identity."""
        if isinstance(self.outer, Identity):
            return self.inner.spectrum(like)
        return self.outer.spectrum(like) if isinstance(self.inner, Identity) else None

    def pinv(self, y: Tensor, like: Tensor) -> Tensor:
        """Of a linear pair as of any; else pinv(inner) pinv(outer), a pseudo-inverse where the inner one reaches every value."""
        if self.linear:
            return super().pinv(y, like)
        middle = self.inner(torch.zeros_like(like[:1]))
        return self.inner.pinv(self.outer.pinv(y, middle), like)


@dataclass(frozen=True)
class Identity(Operator):
    """All of x: what is left to do is to remove the noise."""

    def __call__(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        return y

    def spectrum(self, like: Tensor) -> Spectrum:
        return Spectrum(same, same, same, torch.ones((), dtype=like.dtype, device=like.device))


@dataclass(frozen=True)
class Function(Operator):
    """Any differentiable function of x.

    Args:
        function: x -> y, (B, ...) each.
        inverse: y -> x with function(inverse(function(x))) = function(x), where there is one.
    """

    function: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor] | None = None

    linear = False

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x)

    def pinv(self, y: Tensor, like: Tensor) -> Tensor:
        return super().pinv(y, like) if self.inverse is None else self.inverse(y)


def _real(y: Tensor) -> torch.dtype:
    return y.dtype.to_real() if y.is_complex() else y.dtype
