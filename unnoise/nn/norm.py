"""Normalisation over groups of channels, plain or steered by an embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unnoise.tensor import expand


class Norm(nn.GroupNorm):
    """Group normalisation of any number of channels.

    Args:
        channels: Of the input.
        groups: At most so many groups; the count taken is the largest that divides the channels. None: 32, as in the
            papers, but of 4 channels or more, since at small widths groups of one would erase every channel's mean.
        eps: Added to the variance.

    Reference: Wu and He, Group Normalization, 2018. arXiv:1803.08494
    """

    def __init__(self, channels: int, groups: int | None = None, eps: float = 1e-5) -> None:
        most = groups or min(32, max(1, channels // 4))
        super().__init__(max(n for n in range(1, most + 1) if channels % n == 0), channels, eps=eps)


class AdaptiveNorm(nn.Module):
    """Group normalisation whose scale and shift an embedding moves (AdaGN, FiLM).

        norm(x) (1 + scale) + shift,   (scale, shift) = linear(embedding)

    Args:
        channels: Of the input.
        dim: Of the embedding, which is taken as it comes: its activation is the caller's.
        groups, eps: As for Norm.

    Reference: Dhariwal and Nichol, Diffusion Models Beat GANs, 2021, section 3.1. arXiv:2105.05233
    """

    def __init__(self, channels: int, dim: int, groups: int | None = None, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = Norm(channels, groups, eps)
        self.linear = nn.Linear(dim, 2 * channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.linear(embedding).chunk(2, dim=1)  # (B, C) each
        return torch.addcmul(expand(shift, x), self.norm(x), expand(1 + scale, x))
