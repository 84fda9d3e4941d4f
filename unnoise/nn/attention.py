"""Attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.nn.norm import Norm


def attend(qkv: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(D)) v among L positions, in each head for itself: (B, L, 3 C) -> (B, L, C), D = C / heads.

    Reference: Vaswani et al., Attention Is All You Need, 2017, eq. 1. arXiv:1706.03762
    """
    q, k, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, L, D) each
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, L, C)


def check_heads(channels: int, heads: int) -> None:
    """ValueError if the heads do not divide the channels."""
    if channels % heads:
        raise ValueError(f"{channels} channels cannot be split among {heads} heads: set heads to a divisor of them")


class Attention(nn.Module):
    """Self-attention among all positions of a signal, (B, C, ...), added to it.

        scale (x + out(attend(qkv(norm(x)))))

    Args:
        channels: C.
        heads: Number of heads; divides the channels.
        groups, eps: As for Norm.
        zero: Start as the identity.
        scale: Of the sum; sqrt(1/2) keeps its variance (NCSN++).

    Raises:
        ValueError: If the heads do not divide the channels.

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, appendix B. arXiv:2006.11239
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        groups: int | None = None,
        eps: float = 1e-5,
        zero: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_heads(channels, heads)
        self.heads, self.scale = heads, scale
        self.norm = Norm(channels, groups, eps)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        if zero:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x).flatten(2).transpose(1, 2)  # (B, L, C)
        h = self.out(attend(self.qkv(h), self.heads))  # (B, L, C)
        h = x + h.transpose(1, 2).unflatten(2, x.shape[2:])  # (B, C, ...)
        return h if self.scale == 1 else h * self.scale


class AttentionPool(nn.Module):
    """All positions of a signal, (B, C, ...), as one vector, (B, out): what their mean sees when it attends to them.

        out(attend(qkv([mean(x), x] + positions)))[first]

    Args:
        channels: C.
        length: Number of positions, L; every signal has as many.
        heads: Number of heads; divides the channels.
        out: Of the result.

    Raises:
        ValueError: If the heads do not divide the channels.

    Reference: Radford et al., Learning Transferable Visual Models from Natural Language Supervision, 2021, section 2.4.
        arXiv:2103.00020
    """

    def __init__(self, channels: int, length: int, heads: int, out: int) -> None:
        super().__init__()
        check_heads(channels, heads)
        self.heads = heads
        self.positions = nn.Parameter(torch.randn(length + 1, channels) / channels**0.5)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(2).transpose(1, 2)  # (B, L, C)
        h = torch.cat([h.mean(1, keepdim=True), h], dim=1) + self.positions  # (B, 1 + L, C)
        return self.out(attend(self.qkv(h), self.heads)[:, 0])  # (B, out)
