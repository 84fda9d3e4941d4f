"""Channels mixed: grey pictures of coloured ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.operator.base import Operator
from unnoise.operator.spectrum import Spectrum

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, as in ITU-R BT.601


@dataclass(frozen=True)
class Gray(Operator):
    """One channel of several, y = sum_c weight_c x_c: its inversion is colouring.

    Args:
        weights: One for each channel; () is the brightness of RGB (0.299, 0.587, 0.114), and the mean of any other channels.
    """

    weights: tuple[float, ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        return (self._row(x)[:, None, None] * x).sum(-3, keepdim=True)

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        return self._row(like)[:, None, None] * y

    def spectrum(self, like: Tensor) -> Spectrum:
        row = self._row(like).double()
        size = row.norm()
        axes = torch.linalg.qr(torch.cat([row[:, None], torch.eye(len(row)).to(row)], 1))[0]  # the first is along +- row
        axes = (axes * torch.sign(axes[:, 0] @ row)).to(like)
        s = torch.zeros(len(row), 1, 1).to(like)
        s[0] = size
        return Spectrum(
            lambda x: torch.einsum("dc,...dhw->...chw", axes, x),
            lambda x: torch.einsum("dc,...chw->...dhw", axes, x),
            lambda y: torch.cat([y, y.new_zeros(*y.shape[:-3], len(row) - 1, *y.shape[-2:])], -3),
            s,
        )

    def _row(self, like: Tensor) -> Tensor:
        channels = like.shape[-3]
        weights = self.weights or (LUMA if channels == 3 else (1 / channels,) * channels)
        if len(weights) != channels:
            raise ValueError(f"Gray: {len(weights)} weights for {channels} channels; expected one for each")
        return torch.tensor(weights, dtype=like.dtype, device=like.device)
