"""Convolutions over one, two or three spatial dimensions, and the ways to halve and to double a signal's sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONVS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, type[nn.ConvTranspose1d] | type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
DOWN = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
UP = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def conv(spatial: int, channels: int, out: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> nn.Module:
    """A convolution over `spatial` dimensions; as it comes it keeps the sides."""
    return CONVS[spatial](channels, out, kernel, stride, padding)


def doubling(spatial: int, channels: int, out: int) -> nn.Module:
    """Every side doubled by a transposed convolution: the adjoint of one of stride 2, and cheaper than doubling first.

    Of its four taps a side every output sees two, so that no pattern of squares arises.
    """
    return TRANSPOSED[spatial](channels, out, 4, 2, 1)


def padded(x: Tensor, multiple: int) -> Tensor:
    """(B, C, ...) with zeros at the end of each side, up to the next multiple."""
    missing = [-side % multiple for side in x.shape[2:]]
    return F.pad(x, [n for side in reversed(missing) for n in (0, side)]) if any(missing) else x


def cropped(x: Tensor, sides: Sequence[int]) -> Tensor:
    """The start of each side of (B, C, ...): `padded` undone."""
    index: tuple[Any, ...] = (..., *map(slice, sides))
    return x[index]


class Halve(nn.Module):
    """Every side of (B, C, ...) halved: the mean of 2, 4 or 8 neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return POOLS[x.ndim - 2](x, 2)


class Double(nn.Module):
    """Every side of (B, C, ...) doubled: each value repeated."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Fir(nn.Module):
    """Every side of (B, C, ...) halved or doubled under a smoothing filter, with zeros beyond the edges.

        down: every second value of k * x;   up: 2^spatial k * (x with zeros between its values)

    where k is the product of `taps` / sum(taps) along each side. Taps (1, 1) are Halve and Double.

    Args:
        spatial: Number of dimensions.
        taps: Of the filter along a side; an even number of them.
        up: Double, rather than halve.
        pad: Zeros at both ends; without them a halved side loses len(taps) / 2 - 1.

    Raises:
        ValueError: For an odd number of taps.

    Reference: Zhang, Making Convolutional Networks Shift-Invariant Again, 2019, section 3.2. arXiv:1904.11486
    """

    kernel: Tensor

    def __init__(self, spatial: int, taps: Sequence[float], up: bool, pad: bool = True) -> None:
        super().__init__()
        if len(taps) % 2:
            raise ValueError(f"a filter of {len(taps)} taps {tuple(taps)}: expected an even number")
        line = torch.tensor(taps, dtype=torch.float64) / sum(taps)
        kernel = torch.ones((), dtype=torch.float64)
        for _ in range(spatial):
            kernel = kernel[..., None] * line
        self.up, self.padding = up, (len(taps) - 1) // 2 if pad else 0
        self.register_buffer("kernel", kernel[None, None].to(torch.get_default_dtype()))  # (1, 1, taps, ...)

    def forward(self, x: Tensor) -> Tensor:
        spatial, channels = x.ndim - 2, x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, *self.kernel.shape[1:])  # (C, 1, taps, ...)
        if self.up:
            return UP[spatial](x, 2**spatial * kernel, stride=2, padding=self.padding, groups=channels)
        return DOWN[spatial](x, kernel, stride=2, padding=self.padding, groups=channels)


def resampler(spatial: int, taps: Sequence[float], up: bool) -> nn.Module:
    """Every side doubled or halved under a filter; in the quicker way where its taps are (1, 1)."""
    if tuple(taps) == (1, 1):
        return Double() if up else Halve()
    return Fir(spatial, taps, up)


class Downsample(nn.Module):
    """Every side halved by a convolution of stride 2.

    Args:
        spatial: Number of dimensions.
        channels: Of input and output.
        padding: "both" sides by one, or "right" only: the convention of networks that come from TensorFlow (DDPM).
    """

    def __init__(self, spatial: int, channels: int, padding: str = "both") -> None:
        super().__init__()
        self.before = (0, 1) * spatial if padding == "right" else ()
        self.conv = conv(spatial, channels, channels, stride=2, padding=0 if self.before else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.before) if self.before else x)


class Upsample(nn.Sequential):
    """Every side doubled: values repeated, then a convolution that keeps the size."""

    def __init__(self, spatial: int, channels: int) -> None:
        super().__init__(Double(), conv(spatial, channels, channels))
