"""Some of the spatial frequencies, as a magnetic resonance scanner measures them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from unnoise.operator.base import Operator
from unnoise.operator.spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class Fourier(Operator):
    """y = sampled F x with the unitary transform F of each channel: complex, of x's shape.

    x is real, so a frequency and its opposite tell the same; a coordinate counts as seen where either is.

    Args:
        sampled: 1 where a frequency is measured, else 0; (H, W), the frequency 0 at [0, 0] (`torch.fft.ifftshift` brings a
            centred mask there).
    """

    sampled: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return self._sampled(x) * torch.fft.fft2(x, norm="ortho")

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        return cast(Tensor, torch.fft.ifft2(self._sampled(y.real) * y, norm="ortho").real)

    def spectrum(self, like: Tensor) -> Spectrum:
        power = self._sampled(like) ** 2
        opposite = power.flip(-1, -2).roll((1, 1), (-1, -2))
        s = ((power + opposite) / 2).sqrt()

        def into(x: Tensor) -> Tensor:
            return torch.fft.fft2(x, norm="ortho")

        def seen(y: Tensor) -> Tensor:
            return into(self.adjoint(y, like)) / s.where(s > 0, torch.ones_like(s))

        return Spectrum(into, lambda x: cast(Tensor, torch.fft.ifft2(x, norm="ortho").real), seen, s)

    def _sampled(self, like: Tensor) -> Tensor:
        return self.sampled.to(like.device, like.dtype)
