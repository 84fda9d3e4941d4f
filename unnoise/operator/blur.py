"""Blur: Gaussian, by motion, or by any kernel."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.operator.base import Operator
from unnoise.operator.resample import Separable, gaussian, mirrored
from unnoise.operator.spectrum import Spectrum

FINE = 16  # points a pixel along a line of motion
BORDERS = ("wrap", "reflect", "valid")
Border = Literal["wrap", "reflect", "valid"]


@dataclass(frozen=True)
class GaussianBlur(Separable):
    """Convolution with a Gaussian of `std` pixels, mirrored at the border."""

    std: float = 2.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"GaussianBlur: std must be positive, given {self.std:g} pixels")

    def matrix(self, side: int) -> Tensor:
        return gaussian(side, self.std)


class Convolution(Operator):
    """Convolution with a kernel, by Fourier's transform. What it finds beyond the border is said by `border`:

    "wrap": the other side of the picture: diagonal in Fourier's coordinates, with singular values in closed form;
    "reflect": the picture mirrored, as if the scene went on;
    "valid": nothing: y has only the pixels whose kernel lies within the picture, and is smaller by the kernel less 1.
    """

    border: Border

    @abstractmethod
    def weights(self) -> Tensor:
        """The kernel, (h, w), its middle at (h // 2, w // 2)."""

    def __call__(self, x: Tensor) -> Tensor:
        if self.border == "wrap":
            return self._convolved(x)
        return self._inside(self._convolved(_widened(x, self._margins()) if self.border == "reflect" else x))

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        if self.border == "wrap":
            return self._convolved(y, turned=True)
        left, right, top, bottom = margins = self._margins()
        back = self._convolved(F.pad(y, (left, right, top, bottom)), turned=True)
        return _narrowed(back, margins) if self.border == "reflect" else back

    def spectrum(self, like: Tensor) -> Spectrum | None:
        if self.border != "wrap":
            return None
        transfer = self._transfer(like)
        phase = torch.polar(torch.ones_like(transfer.real), -transfer.angle())
        return Spectrum(
            lambda x: torch.fft.fft2(x, norm="ortho"),
            lambda x: cast(Tensor, torch.fft.ifft2(x, norm="ortho").real),
            lambda y: phase * torch.fft.fft2(y, norm="ortho"),
            transfer.abs(),
        )

    def _checked(self) -> None:
        if self.border not in BORDERS:
            raise ValueError(f"{type(self).__name__}: border {self.border!r}; expected {', '.join(BORDERS)}")

    def _convolved(self, x: Tensor, turned: bool = False) -> Tensor:
        """x, that comes in again on the other side, convolved with the kernel or (turned) correlated with it."""
        transfer = self._transfer(x)
        return cast(Tensor, torch.fft.ifft2(torch.fft.fft2(x) * (transfer.conj() if turned else transfer)).real)

    def _margins(self) -> tuple[int, int, int, int]:
        """How far the kernel reaches to the left, right, top and bottom of a pixel: a convolution looks the other way round."""
        height, width = self.weights().shape
        return width - 1 - width // 2, width // 2, height - 1 - height // 2, height // 2

    def _inside(self, x: Tensor) -> Tensor:
        left, right, top, bottom = self._margins()
        if x.shape[-2] <= top + bottom or x.shape[-1] <= left + right:
            size, kernel = (f"{shape[-1]} x {shape[-2]}" for shape in (x.shape, self.weights().shape))
            raise ValueError(f"{type(self).__name__}: a kernel of {kernel} within {size} pixels leaves none; expected fewer")
        return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]

    def _transfer(self, like: Tensor) -> Tensor:
        return _transfer(self, *like.shape[-2:]).to(like.device, like.dtype.to_complex())


@dataclass(frozen=True, eq=False)
class Blur(Convolution):
    """Convolution with a given kernel, (h, w).

    Args:
        kernel: Its middle is at (h // 2, w // 2); it is taken as it is, so let it sum to 1.
        border: "wrap", "reflect" or "valid"; see `Convolution`.
    """

    kernel: Tensor
    border: Border = "wrap"

    def __post_init__(self) -> None:
        self._checked()

    def weights(self) -> Tensor:
        return self.kernel


@dataclass(frozen=True)
class MotionBlur(Convolution):
    """The mean along a straight line.

    Args:
        length: Of the line, in pixels.
        angle: From the horizontal, counter-clockwise, in degrees.
        border: "wrap", "reflect" or "valid"; see `Convolution`.
    """

    length: float = 9.0
    angle: float = 0.0
    border: Border = "wrap"

    def __post_init__(self) -> None:
        if not self.length > 0:
            raise ValueError(f"MotionBlur: length must be positive, given {self.length:g} pixels")
        self._checked()

    def weights(self) -> Tensor:
        reach = math.ceil(self.length / 2)
        along = (torch.arange(max(1, round(self.length * FINE)), dtype=torch.float64) + 0.5) / FINE - self.length / 2
        across, down = along * math.cos(math.radians(self.angle)), -along * math.sin(math.radians(self.angle))
        pixels = torch.arange(-reach, reach + 1, dtype=torch.float64)
        tents = [(1 - (pixels - place[:, None]).abs()).clamp(min=0) for place in (down, across)]  # each point shared by 4 pixels
        return torch.einsum("ni,nj->ij", *tents) / len(along)


@lru_cache(maxsize=32)
def _transfer(operator: Convolution, height: int, width: int) -> Tensor:
    """The kernel's Fourier transform on a grid, in complex128 on the CPU."""
    weights = operator.weights().double()
    rows = (torch.arange(weights.shape[0]) - weights.shape[0] // 2) % height
    columns = (torch.arange(weights.shape[1]) - weights.shape[1] // 2) % width
    grid = torch.zeros(height, width, dtype=torch.float64)
    grid.index_put_((rows[:, None], columns), weights.cpu(), accumulate=True)
    return torch.fft.fft2(grid)


def _widened(x: Tensor, margins: tuple[int, int, int, int]) -> Tensor:
    """x with margins at the left, right, top and bottom, in which it is mirrored, as often as they need."""
    rows, columns = _places(x.shape[-2], x.shape[-1], margins, x.device)
    return x.index_select(-2, rows).index_select(-1, columns)


def _narrowed(y: Tensor, margins: tuple[int, int, int, int]) -> Tensor:
    """The adjoint: each pixel of the margins added to that which it mirrors."""
    left, right, top, bottom = margins
    height, width = y.shape[-2] - top - bottom, y.shape[-1] - left - right
    rows, columns = _places(height, width, margins, y.device)
    x = y.new_zeros(*y.shape[:-2], height, y.shape[-1]).index_add_(-2, rows, y)
    return x.new_zeros(*x.shape[:-1], width).index_add_(-1, columns, x)


def _places(height: int, width: int, margins: tuple[int, int, int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    left, right, top, bottom = margins
    return (
        mirrored(torch.arange(-top, height + bottom, device=device), height),
        mirrored(torch.arange(-left, width + right, device=device), width),
    )
