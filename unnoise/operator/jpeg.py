"""JPEG's loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.operator.base import Operator
from unnoise.operator.levels import rounded

SIDE = 8  # of a block

# ITU-T T.81, tables K.1 and K.2: the steps of the frequencies at quality 50.
LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
CHROMA = "17 18 24 47 18 21 26 66 24 26 56 99 47 66 99 99"  # the first 4 x 4; all others are 99

# ITU-T T.871, section 7: red, green, blue -> Y, Cb, Cr.
COLOURS = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@dataclass(frozen=True)
class JPEG(Operator):
    """x as JPEG gives it back: cosine transform of 8 x 8 blocks, rounded; gradients pass the rounding straight through.

    Three channels are taken as RGB, with chroma at half the size (4:2:0); any others each as brightness. Neither clipped nor
    rounded to 8 bits. Where the sides are multiples of 8 (16 with chroma) doing it twice is doing it once, and y is its own
    pseudo-inverse; else nearly so.

    Args:
        quality: 1 .. 100, as libjpeg scales its tables.
    """

    quality: int = 50

    linear = False

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"JPEG: quality 1 .. 100 is expected, given {self.quality}")

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        coloured = x.shape[-3] == 3
        block = 2 * SIDE if coloured else SIDE
        x = F.pad(x * 127.5, (0, -width % block, 0, -height % block), mode="replicate")  # levels about the middle grey
        if not coloured:
            return self._rounded(x, LUMA)[..., :height, :width] / 127.5
        turn = torch.tensor(COLOURS, dtype=torch.float64)
        y, chroma = torch.einsum("dc,bchw->bdhw", turn.to(x), x).split([1, 2], 1)
        small = self._rounded(F.avg_pool2d(chroma, 2), CHROMA)
        parts = torch.cat([self._rounded(y, LUMA), small.repeat_interleave(2, -1).repeat_interleave(2, -2)], 1)
        return torch.einsum("dc,bchw->bdhw", torch.linalg.inv(turn).to(x), parts)[..., :height, :width] / 127.5

    def pinv(self, y: Tensor, like: Tensor) -> Tensor:
        return y

    def _rounded(self, x: Tensor, table: str) -> Tensor:
        """Each channel's blocks with their frequencies rounded to multiples of the table's steps."""
        basis, steps = cosines().to(x), _steps(table, self.quality).to(x)
        blocks = x.unflatten(-1, (-1, SIDE)).unflatten(-3, (-1, SIDE)).transpose(-3, -2)  # (..., rows, columns, 8, 8)
        kept = rounded(basis @ blocks @ basis.mT / steps) * steps
        return (basis.mT @ kept @ basis).transpose(-3, -2).flatten(-4, -3).flatten(-2)


@cache
def cosines() -> Tensor:
    """The orthonormal cosine transform of 8 values, (8, 8) in float64."""
    k, n = torch.arange(SIDE, dtype=torch.float64)[:, None], torch.arange(SIDE, dtype=torch.float64)
    rows = (math.pi / SIDE * (n + 0.5) * k).cos() * (2 / SIDE) ** 0.5
    rows[0] /= 2**0.5
    return rows


def _steps(table: str, quality: int) -> Tensor:
    numbers = torch.tensor([float(number) for number in table.split()])
    if len(numbers) == 16:
        numbers = F.pad(numbers.reshape(4, 4), (0, 4, 0, 4), value=99.0)
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((numbers.reshape(SIDE, SIDE) * percent + 50) / 100).floor().clamp(1, 255)
