"""Convolutions over one, two or three spatial dimensions, and the ways to halve and to double a signal's sides."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

CONVS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def conv(spatial: int, channels: int, out: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> nn.Module:
    """A convolution over `spatial` dimensions; as it comes it keeps the sides."""
    return CONVS[spatial](channels, out, kernel, stride, padding)


class Halve(nn.Module):
    """Every side of (B, C, ...) halved: the mean of 2, 4 or 8 neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return POOLS[x.ndim - 2](x, 2)


class Double(nn.Module):
    """Every side of (B, C, ...) doubled: each value repeated."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


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
