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
        y, *chroma = (_picture(rounded(part / steps) * steps) for part, steps in self.frequencies(x))
        if chroma:
            wide = chroma[0].repeat_interleave(2, -1).repeat_interleave(2, -2)
            y = torch.einsum("dc,bchw->bdhw", torch.linalg.inv(_turn()).to(x), torch.cat([y, wide], 1))
        return y[..., :height, :width] / 127.5

    def pinv(self, y: Tensor, like: Tensor) -> Tensor:
        return y

    def frequencies(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What is rounded, of brightness and of colours, (B, C, rows, columns, 8, 8), and its steps, (8, 8); in levels of 255."""
        height, width = x.shape[-2:]
        coloured = x.shape[-3] == 3
        block = 2 * SIDE if coloured else SIDE
        x = F.pad(x * 127.5, (0, -width % block, 0, -height % block), mode="replicate")  # levels about the middle grey
        parts = [(x, LUMA)]
        if coloured:
            y, chroma = torch.einsum("dc,bchw->bdhw", _turn().to(x), x).split([1, 2], 1)
            parts = [(y, LUMA), (F.avg_pool2d(chroma, 2), CHROMA)]
        basis = cosines().to(x)
        return [(basis @ _blocks(part) @ basis.mT, _steps(table, self.quality).to(x)) for part, table in parts]


def _blocks(x: Tensor) -> Tensor:
    """(..., H, W) as (..., rows, columns, 8, 8)."""
    return x.unflatten(-1, (-1, SIDE)).unflatten(-3, (-1, SIDE)).transpose(-3, -2)


def _picture(frequencies: Tensor) -> Tensor:
    basis = cosines().to(frequencies)
    return (basis.mT @ frequencies @ basis).transpose(-3, -2).flatten(-4, -3).flatten(-2)


def _turn() -> Tensor:
    return torch.tensor(COLOURS, dtype=torch.float64)


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
