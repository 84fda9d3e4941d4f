"""What coarse values tell of the fine ones: an interval for each, taken for a normal law of the same mean and variance.

A method of gradients has little to go by where values are rounded or cut off: the misfit is flat, then jumps. An interval is told
to every method as a linear measurement of the values themselves, each known as well as its interval is narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.operator.base import Composed, Operator
from unnoise.operator.jpeg import JPEG
from unnoise.operator.levels import Clip, Quantize
from unnoise.operator.measurement import Measurement
from unnoise.operator.spectrum import Spectrum, same

FINEST = 1e-3  # the least standard deviation, in units of x: what is known exactly leaves room for nothing else
HALF_WIDTH = 3**0.5  # of an interval, in standard deviations of the uniform law on it


@dataclass(frozen=True, eq=False)
class Weighted(Operator):
    """y = weight x, value by value.

    Args:
        weight: Positive; broadcasts over x.
    """

    weight: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight.to(x.device, x.dtype) * x

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        return self(y)

    def spectrum(self, like: Tensor) -> Spectrum:
        return Spectrum(same, same, same, self.weight.to(like.device, like.dtype))


@dataclass(frozen=True)
class Frequencies(Operator):
    """What JPEG rounds of x, in units of x: the cosine transform of its blocks, (B, N)."""

    jpeg: JPEG

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([part.flatten(1) for part, _ in self.jpeg.frequencies(x)], 1) / 127.5

    def steps(self, like: Tensor) -> Tensor:
        """Those that they are rounded to, (1, N)."""
        parts = self.jpeg.frequencies(like[:1])
        return torch.cat([steps.expand_as(part).flatten(1) for part, steps in parts], 1) / 127.5


def intervals(measured: Measurement, like: Tensor) -> Measurement:
    """The same measurement of an x, (B, C, H, W) like `like`, where it rounds or cuts off values: linear then; else as it is.

        y_i in [centre_i - half_i, centre_i + half_i]  ->  centre_i, with the variance half_i^2 / 3 + std^2

    Values are weighed by std / deviation, so that one std serves for all. Of JPEG the intervals are those of its frequencies.
    What `Clip` cut off lies between its bound and the end of what pictures hold, 1 or -1: the interval is that about the end,
    since much of what is cut off is black or white, and a law about the middle would speak against it with one voice.
    """
    operator, y, std = measured.operator, measured.y, max(measured.std, FINEST)
    match operator:
        case Composed(outer, inner):
            found = intervals(Measurement(outer, y, measured.std), inner(like))
            return measured if found.operator is outer else Measurement(found.operator @ inner, found.y, found.std)
        case Quantize(levels):
            return _weighted(y, torch.full_like(y, 1 / (levels - 1)), std)
        case Clip(low, high):
            bottom, top = low + HALF_WIDTH * std, high - HALF_WIDTH * std  # the bounds, too, were rounded
            dark, light = y <= bottom, y >= top
            centre = torch.where(dark, -1, torch.where(light, 1, y))
            half = torch.where(dark, bottom + 1, torch.where(light, 1 - top, y.new_zeros(())))
            return _weighted(centre, half, std)
        case JPEG():
            frequencies = Frequencies(operator)
            found = _weighted(frequencies(y), frequencies.steps(like.to(y)) / 2, std)
            return Measurement(found.operator @ frequencies, found.y, found.std)
    return measured


def _weighted(centre: Tensor, half: Tensor, std: float) -> Measurement:
    weight = std / ((half / HALF_WIDTH) ** 2 + std**2).sqrt()
    return Measurement(Weighted(weight), weight * centre, std)
