"""What noising does to a density: it is scaled by alpha and blurred by sigma."""

from __future__ import annotations

import torch
from torch import Tensor


def marginal(density: Tensor, *axes: Tensor, alpha: float, sigma: float) -> Tensor:
    """The density p_t of x_t = alpha x + sigma eps on the grid where the density p of x is given, in one or more dimensions.

        p_t(x_t) = integral of p(x) N(x_t; alpha x, sigma^2) dx

    Exact for a density that is constant on each cell of the grid and 0 outside; what leaves the grid is lost.

    Args:
        density: p at the grid's points, (N1, N2, ...).
        axes: The evenly spaced coordinates of the grid along each dimension, (N1,), (N2,), ...
        alpha, sigma: The schedule at t.
    """
    density = density.double()
    for dim, axis in enumerate(axes):
        blurred = torch.tensordot(_blur(axis.double(), max(alpha, 1e-9), max(sigma, 1e-9)), density, ([1], [dim]))
        density = blurred.movedim(0, dim)
    return density


def _blur(axis: Tensor, alpha: float, sigma: float) -> Tensor:
    """The share of a cell's mass at each point of the grid, over the cell's width: (to, from)."""
    half = (axis[1] - axis[0]) / 2
    edges = torch.cat([axis - half, axis[-1:] + half])
    below = torch.special.ndtr((axis[:, None] - alpha * edges) / sigma)
    return (below[:, :-1] - below[:, 1:]) / alpha
