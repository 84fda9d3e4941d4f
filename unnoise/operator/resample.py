"""Fewer pixels: operators that are one matrix along the height and one along the width."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.operator.base import Operator
from unnoise.operator.spectrum import Spectrum

LOBES = 3  # of Lanczos' kernel
SHARPNESS = -0.5  # of the cubic kernel


class Separable(Operator):
    """y = M_h x M_w^T, with a matrix for each side. Singular values are products of theirs; the decompositions are kept."""

    @abstractmethod
    def matrix(self, side: int) -> Tensor:
        """(outputs, side), float64."""

    def __call__(self, x: Tensor) -> Tensor:
        high, wide = (_kept(self, side).to(x) for side in x.shape[-2:])
        return high @ x @ wide.mT

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        high, wide = (_kept(self, side).to(y) for side in like.shape[-2:])
        return high.mT @ y @ wide

    def spectrum(self, like: Tensor) -> Spectrum:
        (u_h, s_h, v_h), (u_w, s_w, v_w) = ((p.to(like) for p in _decomposed(self, side)) for side in like.shape[-2:])

        def seen(y: Tensor) -> Tensor:
            found = y.new_zeros(*y.shape[:-2], len(s_h), len(s_w))
            found[..., : u_h.shape[1], : u_w.shape[1]] = u_h.mT @ y @ u_w
            return found

        return Spectrum(lambda x: v_h @ x @ v_w.mT, lambda x: v_h.mT @ x @ v_w, seen, s_h[:, None] * s_w)


@dataclass(frozen=True)
class Downsample(Separable):
    """A picture of fewer pixels: each side divided by `factor`, rounded up.

    Args:
        factor: Of the sides.
        kernel: "area" is the mean over the area of a new pixel; "bicubic" and "lanczos" are widened by the factor, so that
            nothing aliases, and cut off at the border, as Pillow's are.
        enlarge: How a network is shown it: by the pseudo-inverse ("pinv"), or as ADM's upsamplers are, "bilinear".

    Reference: Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981, eq. 15 (a = -1/2)
    """

    factor: int = 4
    kernel: Literal["area", "bicubic", "lanczos"] = "bicubic"
    enlarge: Literal["pinv", "bilinear"] = "pinv"

    def __post_init__(self) -> None:
        if self.factor < 1 or self.kernel not in ("area", "bicubic", "lanczos") or self.enlarge not in ("pinv", "bilinear"):
            raise ValueError(
                f"{self}: expected a factor of at least 1, kernel area, bicubic or lanczos, and enlarge pinv or bilinear"
            )

    def lift(self, y: Tensor, like: Tensor) -> Tensor:
        if self.enlarge == "pinv":
            return super().lift(y, like)
        return F.interpolate(y, size=like.shape[-2:], mode="bilinear", align_corners=False)

    def matrix(self, side: int) -> Tensor:
        outputs = -(-side // self.factor)
        scale = side / outputs
        if self.kernel == "area":
            edges = torch.arange(outputs + 1, dtype=torch.float64) * scale
            cells = torch.arange(side, dtype=torch.float64)
            first, last = torch.maximum(edges[:-1, None], cells), torch.minimum(edges[1:, None], cells + 1)
            weights = (last - first).clamp(min=0)
        else:
            centres = (torch.arange(outputs, dtype=torch.float64)[:, None] + 0.5) * scale
            distance = (torch.arange(side, dtype=torch.float64) + 0.5 - centres) / scale
            weights = cubic(distance) if self.kernel == "bicubic" else lanczos(distance)
        return weights / weights.sum(1, keepdim=True)


def cubic(x: Tensor) -> Tensor:
    """The cubic convolution kernel with a = -1/2."""
    x, a = x.abs(), SHARPNESS
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))


def lanczos(x: Tensor) -> Tensor:
    """sinc(x) sinc(x / 3) within three lobes."""
    return torch.where(x.abs() < LOBES, torch.sinc(x) * torch.sinc(x / LOBES), 0)


def gaussian(side: int, std: float) -> Tensor:
    """Convolution with a Gaussian along one side, mirrored at the border, (side, side) in float64."""
    reach = max(1, math.ceil(4 * std))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = (-(offsets**2) / (2 * std**2)).exp()
    places = mirrored(torch.arange(side)[:, None] + offsets.long(), side)
    rows = torch.zeros(side, side, dtype=torch.float64)
    return rows.scatter_add_(1, places, (weights / weights.sum()).expand(side, -1))


def mirrored(places: Tensor, side: int) -> Tensor:
    """Which pixels of a side, 0 .. side - 1, stand at places on or beyond it, when it is mirrored at its borders for ever."""
    places = places % (2 * side)
    return torch.where(places < side, places, 2 * side - 1 - places)


@lru_cache(maxsize=32)
def _kept(operator: Separable, side: int) -> Tensor:
    return operator.matrix(side)


@lru_cache(maxsize=32)
def _decomposed(operator: Separable, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """U (outputs, outputs), the singular values (side,), 0 past the last, and V^T (side, side)."""
    u, s, v = torch.linalg.svd(_kept(operator, side))
    return u, torch.cat([s, s.new_zeros(side - len(s))]), v
