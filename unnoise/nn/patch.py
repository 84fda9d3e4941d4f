"""Signals as sequences of patches, and where in the signal each patch stands.

Symbols at the margin: n spatial dimensions, p side of a patch, L patches in all; patches and pixels in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

SMALL = 3 << 19  # values of a table


def patches(x: Tensor, p: int) -> Tensor:
    """(B, C, ...) of sides that are multiples of p -> (B, L, p^n C), the channels of a pixel side by side."""
    n = x.ndim - 2
    for side in range(n):
        x = x.unflatten(2 + 2 * side, (-1, p))  # (B, C, G_1, p, ..., G_n, p)
    grid, pixels = range(2, 2 + 2 * n, 2), range(3, 3 + 2 * n, 2)
    return x.permute(0, *grid, *pixels, 1).flatten(1, n).flatten(2)  # (B, L, p^n C)


def assembled(tokens: Tensor, p: int, grid: Sequence[int]) -> Tensor:
    """`patches` undone: (B, L, p^n C) -> (B, C, ...), of sides p times the grid's."""
    n = len(grid)
    x = tokens.unflatten(2, (*[p] * n, -1)).unflatten(1, tuple(grid))  # (B, G_1 ... G_n, p ... p, C)
    x = x.permute(0, 1 + 2 * n, *(axis for side in range(n) for axis in (1 + side, 1 + n + side)))
    for side in range(n):
        x = x.flatten(2 + side, 3 + side)
    return x  # (B, C, p G_1, ..., p G_n)


def positions(grid: Sequence[int], dim: int) -> Tensor:
    """Sines and cosines of each place on a grid, the last axis first, (L, dim): dim / n for each axis.

        [sin(place w_i), cos(place w_i)],   w_i = 10000^(-i / half),   i = 0 ... half - 1,   half = floor(dim / 2 n)

    What n does not divide is zeros at the end.

    Reference: Vaswani et al., Attention Is All You Need, 2017, section 3.5. arXiv:1706.03762;
        Peebles and Xie, Scalable Diffusion Models with Transformers, 2023, section 3.2. arXiv:2212.09748
    """
    half, device = dim // (2 * len(grid)), torch.get_default_device()
    # Arithmetic on the meta device loads a library of symbols, for two seconds; small tables can do without it.
    place = "cpu" if math.prod(grid) * dim < SMALL else device
    count = partial(torch.arange, dtype=torch.float64, device=place)
    frequencies = 10_000.0 ** (-count(half) / max(1, half))
    places = torch.meshgrid(*(count(side) for side in grid), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in reversed(places)]  # (L, half) each
    table = torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)
    return torch.nn.functional.pad(table, (0, dim - table.shape[1])).to(device)  # (L, dim)
