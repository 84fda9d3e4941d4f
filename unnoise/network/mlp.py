"""The network for points and other small vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.condition import Conditions, complete
from unnoise.nn.embed import Embedding, beside
from unnoise.tensor import Cond


class Block(nn.Module):
    """x + out(silu(hidden(x) (1 + scale) + shift)), where (scale, shift) = steer(embedding).

    No normalisation: it hides how far out a point is. With it, on 8 Gaussians in 2-D at width 128, the squared error to
    the exact denoiser after 2000 steps was 0.0065 for 0.0025.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.steer = nn.Linear(width, 2 * width)
        self.hidden = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.steer(embedding).chunk(2, dim=1)  # (B, W) each
        h = torch.addcmul(shift, self.hidden(x), 1 + scale)
        return x + self.out(self.dropout(F.silu(h)))


class MLP(nn.Module):
    """Residual layers on the flattened sample, each steered by the embedding of level and conditions (FiLM).

    A fresh network answers 0. Takes conditions of route "vector" and, flattened beside x, "concat".

    Args:
        shape: Of one sample; any.
        conds: The conditions it takes.
        width: Of the layers.
        depth: Number of residual layers, two linear maps each.
        dropout: Inside the layers.
        variance: Answer twice the channels: the prediction, then the learned variance.
        features: Of the level: "cos sin", "sin cos" or "fourier". See `nn.Embedding`.

    Raises:
        ValueError: For a condition or an option that does not fit.

    Reference: Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer, 2018, eq. 1-2. arXiv:1709.07871
    """

    def __init__(
        self,
        shape: Sequence[int],
        conds: Conditions | None = None,
        width: int = 256,
        depth: int = 4,
        dropout: float = 0.0,
        variance: bool = False,
        features: str = "cos sin",
    ) -> None:
        super().__init__()
        self.conds = dict(conds or {})
        self.variance = variance
        self.shape = tuple(shape)
        taken = math.prod(shape) + sum(math.prod(c.shape) for c in self.conds.values() if c.route == "concat")
        self.embed = Embedding(features, width, width, self.conds)
        self.stem = nn.Linear(taken, width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
        self.out = nn.Linear(width, math.prod(shape) * (1 + variance))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, level: Tensor, cond: Cond | None = None) -> Tensor:
        cond = complete(self.conds, cond, x.shape[0], x.device)
        embedding = self.embed(level, cond)  # (B, W)
        h = torch.cat([part.flatten(1) for part in beside(x, self.conds, cond)], dim=1)  # (B, D)
        h = self.stem(h)  # (B, W)
        for block in self.blocks:
            h = block(h, embedding)
        h = self.out(F.silu(h))  # (B, D or 2 D)
        return h.reshape(x.shape[0], -1, *x.shape[2:])  # (B, C or 2 C, ...)
