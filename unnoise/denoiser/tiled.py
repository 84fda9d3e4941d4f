"""A denoiser for samples larger than its network was made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.condition import Conditions
from unnoise.denoiser.base import Answer, Denoise, Time
from unnoise.tensor import Cond

Place = tuple[Any, slice, slice]  # of a tile, as an index


class Tiled:
    """E[x | x_t] of a large picture from those of its tiles: their mean, weighed by a tent that falls to the tiles' borders.

    Far apart parts know nothing of each other; neighbours agree through what they share. As many evaluations as tiles.

    Args:
        denoiser: Of pictures of one size.
        size: Height and width of that.
        overlap: The least share of a tile that its neighbour covers too.

    Reference: Bar-Tal et al., MultiDiffusion, 2023, eq. 5 (there with even weights). arXiv:2302.08113
    """

    def __init__(self, denoiser: Denoise, size: Sequence[int], overlap: float = 0.5) -> None:
        self.denoiser, self.schedule = denoiser, denoiser.schedule
        self.conds: Conditions = denoiser.conds
        self.size, self.overlap = tuple(size), overlap

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return self.denoiser.project(x, cond)

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        nfe = 0

        def ask(place: Place) -> Tensor:
            nonlocal nfe
            answer = self.denoiser.answer(x_t[place], t, cond)
            nfe += answer.nfe
            return answer.x0

        return Answer(by_tiles(x_t, self.size, self.overlap, ask), nfe=nfe)

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


class TiledNetwork(nn.Module):
    """The same of a network, for denoisers that know something of the whole picture; what is laid beside x is cut as x is.

    Args:
        network: Of pictures of one size.
        size: Height and width of that.
        overlap: As that of `Tiled`.
    """

    def __init__(self, network: nn.Module, size: Sequence[int], overlap: float = 0.5) -> None:
        super().__init__()
        self.network, self.size, self.overlap = network, tuple(size), overlap
        self.conds: Conditions = getattr(network, "conds", {})

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        def ask(place: Place) -> Tensor:
            part = {name: value[place] if self.conds[name].route == "concat" else value for name, value in cond.items()}
            return self.network(x[place], level, part)

        return by_tiles(x, self.size, self.overlap, ask)


def by_tiles(x: Tensor, size: Sequence[int], overlap: float, ask: Callable[[Place], Tensor]) -> Tensor:
    """The weighted mean of what is answered for each tile of x, of x's sides."""
    height, width = size
    tent = (_tent(height)[:, None] * _tent(width)).to(x)
    total, weight = x.new_zeros(()), torch.zeros_like(x[:1, :1])
    for top in starts(x.shape[-2], height, overlap):
        for left in starts(x.shape[-1], width, overlap):
            place = ..., slice(top, top + height), slice(left, left + width)
            part = tent * ask(place)
            total = total if total.ndim else x.new_zeros(len(x), part.shape[1], *x.shape[2:])
            total[place] = total[place] + part
            weight[place] += tent
    return total / weight


def starts(side: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin that cover a side evenly: the first at 0, the last at its end.

    Raises:
        ValueError: If the side is shorter than a tile.
    """
    if side < tile:
        raise ValueError(f"a side of {side} is shorter than a tile of {tile}")
    n = 1 + -(-(side - tile) // max(1, round(tile * (1 - overlap))))
    return [round(i * (side - tile) / max(1, n - 1)) for i in range(n)]


def _tent(side: int) -> Tensor:
    places = torch.arange(side, dtype=torch.float64)
    return torch.minimum(places + 1, side - places) / (side / 2)
