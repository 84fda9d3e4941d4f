"""Attention."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.nn.norm import Norm


class Attention(nn.Module):
    """Self-attention among all positions of a signal, (B, C, ...), added to it.

        x + out(softmax(q k^T / sqrt(D)) v),   (q, k, v) = qkv(norm(x)),   D = C / heads

    Args:
        channels: C.
        heads: Number of heads; divides the channels.
        groups, eps: As for Norm.
        zero: Start as the identity.

    Raises:
        ValueError: If the heads do not divide the channels.

    Reference: Vaswani et al., Attention Is All You Need, 2017, eq. 1. arXiv:1706.03762
    """

    def __init__(self, channels: int, heads: int = 1, groups: int | None = None, eps: float = 1e-5, zero: bool = True) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be split among {heads} heads: set heads to a divisor of them")
        self.heads = heads
        self.norm = Norm(channels, groups, eps)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        if zero:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x).flatten(2).transpose(1, 2)  # (B, L, C)
        q, k, v = self.qkv(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, L, D) each
        h = F.scaled_dot_product_attention(q, k, v)
        h = self.out(h.transpose(1, 2).flatten(2))  # (B, L, C)
        return x + h.transpose(1, 2).unflatten(2, x.shape[2:])  # (B, C, ...)
