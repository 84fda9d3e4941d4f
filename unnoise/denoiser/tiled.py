"""A denoiser for samples larger than its network was made for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unnoise.condition import Conditions
from unnoise.denoiser.base import Answer, Denoise, Time
from unnoise.tensor import Cond


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
        height, width = self.size
        tent = (_tent(height)[:, None] * _tent(width)).to(x_t)
        total, weight, nfe = torch.zeros_like(x_t), torch.zeros_like(x_t[:1, :1]), 0
        for top in starts(x_t.shape[-2], height, self.overlap):
            for left in starts(x_t.shape[-1], width, self.overlap):
                place = ..., slice(top, top + height), slice(left, left + width)
                answer = self.denoiser.answer(x_t[place], t, cond)
                total[place] = total[place] + tent * answer.x0
                weight[place] += tent
                nfe += answer.nfe
        return Answer(total / weight, nfe=nfe)

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


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
