"""Blur: Gaussian, by motion, or by any kernel."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from unnoise.operator.base import Operator
from unnoise.operator.resample import Separable, gaussian
from unnoise.operator.spectrum import Spectrum

FINE = 16  # points a pixel along a line of motion


@dataclass(frozen=True)
class GaussianBlur(Separable):
    """Convolution with a Gaussian of `std` pixels, mirrored at the border."""

    std: float = 2.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"GaussianBlur: std must be positive, given {self.std:g} pixels")

    def matrix(self, side: int) -> Tensor:
        return gaussian(side, self.std)


class Circular(Operator):
    """Convolution with a kernel, which comes in again on the other side of the border: diagonal in Fourier's coordinates.

    A picture of the world does not come in again: `Crop(r, r, r, r) @ Blur(kernel)` measures only where nothing did.
    """

    @abstractmethod
    def weights(self) -> Tensor:
        """The kernel, (h, w), its middle at (h // 2, w // 2)."""

    def __call__(self, x: Tensor) -> Tensor:
        return cast(Tensor, torch.fft.ifft2(torch.fft.fft2(x) * self._transfer(x)).real)

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        return cast(Tensor, torch.fft.ifft2(torch.fft.fft2(y) * self._transfer(like).conj()).real)

    def spectrum(self, like: Tensor) -> Spectrum:
        transfer = self._transfer(like)
        phase = torch.polar(torch.ones_like(transfer.real), -transfer.angle())
        return Spectrum(
            lambda x: torch.fft.fft2(x, norm="ortho"),
            lambda x: cast(Tensor, torch.fft.ifft2(x, norm="ortho").real),
            lambda y: phase * torch.fft.fft2(y, norm="ortho"),
            transfer.abs(),
        )

    def _transfer(self, like: Tensor) -> Tensor:
        """The kernel's Fourier transform, on the grid of an x."""
        weights, (height, width) = self.weights().double(), like.shape[-2:]
        rows = (torch.arange(weights.shape[0]) - weights.shape[0] // 2) % height
        columns = (torch.arange(weights.shape[1]) - weights.shape[1] // 2) % width
        grid = torch.zeros(height, width, dtype=torch.float64)
        grid.index_put_((rows[:, None], columns), weights.cpu(), accumulate=True)
        return torch.fft.fft2(grid).to(like.device, like.dtype.to_complex())


@dataclass(frozen=True, eq=False)
class Blur(Circular):
    """Convolution with a given kernel, (h, w), across the border.

    Args:
        kernel: Its middle is at (h // 2, w // 2); it is taken as it is, so let it sum to 1.
    """

    kernel: Tensor

    def weights(self) -> Tensor:
        return self.kernel


@dataclass(frozen=True)
class MotionBlur(Circular):
    """The mean along a straight line.

    Args:
        length: Of the line, in pixels.
        angle: From the horizontal, counter-clockwise, in degrees.
    """

    length: float = 9.0
    angle: float = 0.0

    def __post_init__(self) -> None:
        if not self.length > 0:
            raise ValueError(f"MotionBlur: length must be positive, given {self.length:g} pixels")

    def weights(self) -> Tensor:
        reach = math.ceil(self.length / 2)
        along = (torch.arange(max(1, round(self.length * FINE)), dtype=torch.float64) + 0.5) / FINE - self.length / 2
        across, down = along * math.cos(math.radians(self.angle)), -along * math.sin(math.radians(self.angle))
        pixels = torch.arange(-reach, reach + 1, dtype=torch.float64)
        tents = [(1 - (pixels - place[:, None]).abs()).clamp(min=0) for place in (down, across)]  # each point shared by 4 pixels
        return torch.einsum("ni,nj->ij", *tents) / len(along)
