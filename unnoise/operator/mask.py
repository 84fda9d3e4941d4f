"""Parts of a picture: what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.operator.base import Operator
from unnoise.operator.spectrum import Spectrum, same


@dataclass(frozen=True, eq=False)
class Mask(Operator):
    """y = (1 - repaint) x: white (1) is what is to be repainted, black (0) what is known. y has the shape of x.

    Args:
        repaint: In [0, 1], broadcasts over x: (H, W), (1, H, W), (C, H, W) or with a batch. Between 0 and 1 x is seen weakly.
    """

    repaint: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return self._known(x) * x

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        return self._known(y) * y

    def spectrum(self, like: Tensor) -> Spectrum:
        return Spectrum(same, same, same, self._known(like))

    def _known(self, like: Tensor) -> Tensor:
        return 1 - self.repaint.to(like.device, like.dtype)


@dataclass(frozen=True)
class Crop(Operator):
    """The inside of x, without margins: its inversion is outpainting.

    Args:
        left, top, right, bottom: Pixels that are not seen.
    """

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        return x[..., self.top : x.shape[-2] - self.bottom, self.left : x.shape[-1] - self.right]

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        return F.pad(y, (self.left, self.right, self.top, self.bottom))

    def spectrum(self, like: Tensor) -> Spectrum:
        s = self.adjoint(torch.ones_like(self(like[:1, :1])[0]), like)
        return Spectrum(same, same, lambda y: self.adjoint(y, like), s)
