"""Linear systems without matrices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unnoise.tensor import expand

Linear = Callable[[Tensor], Tensor]


def conjugate_gradients(matrix: Linear, b: Tensor, steps: int = 400, tolerance: float = 1e-9) -> Tensor:
    """x with matrix(x) = b, each sample of the batch a system of its own; the matrix is positive (semi-)definite.

    From x = 0, so that of many solutions it finds the least. Ends when every residual is below `tolerance` of b, or after `steps`
    applications. A matrix that is positive in theory alone (a network's Jacobian) may have directions in which it is not: a
    sample that comes upon one stays where it is.

    Reference: Hestenes & Stiefel, Methods of Conjugate Gradients for Solving Linear Systems, 1952, eq. 3:1.
    """
    x, rest, along = torch.zeros_like(b), b, b
    size = first = dot(b, b)
    for _ in range(steps):
        if (size <= tolerance**2 * first).all():
            break
        image = matrix(along)
        curve = dot(along, image)
        step = expand(torch.where(curve > 0, size / curve, 0), b)
        x, rest = x + step * along, rest - step * image
        size, before = dot(rest, rest), size
        along = rest + expand(size / before.clamp(min=torch.finfo(size.dtype).tiny), b) * along
    return x


def least_squares(matrix: Linear, adjoint: Linear, y: Tensor, steps: int = 1600, tolerance: float = 1e-9) -> Tensor:
    """The least x that minimises |y - matrix(x)|, by conjugate gradients on the normal equations."""
    return conjugate_gradients(lambda x: adjoint(matrix(x)), adjoint(y), steps, tolerance)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> of each sample, (B,); of complex numbers the real part."""
    return (a * b.conj()).real.flatten(1).sum(1) if a.is_complex() else (a * b).flatten(1).sum(1)
