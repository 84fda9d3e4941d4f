"""The diffusion transformer.

Symbols at the margin: B batch, C channels of a sample, D width, L patches of p^n values and C channels; `...` stands for (L,),
(H, W) or (T, H, W), n dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.condition import Conditions, complete
from unnoise.network.unet import check_beside, check_levels, taken
from unnoise.nn.attention import attend, check_heads
from unnoise.nn.conv import cropped, padded
from unnoise.nn.embed import Embedding, beside
from unnoise.nn.patch import assembled, patches, positions
from unnoise.nn.recompute import run
from unnoise.tensor import Cond


class DiT(nn.Module):
    """A transformer on patches; level and conditions set the scale, shift and gate of every block (adaLN-Zero).

    A fresh network answers 0, and its blocks are the identity. One to three spatial dimensions, of the sides of `shape`:
    those that are no multiple of the patch are padded with zeros inside, and the answer is cropped. Conditions of route
    "vector" are added to the embedding of the level, those of route "concat" (of x's sides) to the channels of x.

    DiT-XL/2 has the defaults.

    Args:
        shape: Of one sample, (C, ...).
        conds: The conditions it takes.
        patch: Side of a patch, p.
        width: Of the tokens, D.
        depth: Number of blocks.
        heads: Of attention.
        ratio: Hidden units of a block's two-layer network, in widths.
        variance: Answer 2 C channels: the prediction, then the learned variance.
        features: Of the level. See `nn.Embedding`.
        eps: Of a block's two norms.
        embeddings: How many embeddings of level and conditions there are: the blocks take them in turn, the last layer the
            first one. 1 in the paper.
        recompute: Keep no activations inside the blocks but compute them anew going backward: less memory, more time.

    Raises:
        ValueError: For an option or a condition that does not fit.

    Reference: Peebles and Xie, Scalable Diffusion Models with Transformers, 2023, section 3.2. arXiv:2212.09748
    """

    positions: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        conds: Conditions | None = None,
        patch: int = 2,
        width: int = 1152,
        depth: int = 28,
        heads: int = 16,
        ratio: float = 4.0,
        variance: bool = False,
        features: str = "cos sin",
        eps: tuple[float, float] = (1e-6, 1e-6),
        embeddings: int = 1,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        check_levels(shape, 1, ())
        check_beside(shape, conds or {})
        check_heads(width, heads)
        self.shape, self.conds, self.variance = tuple(shape), dict(conds or {}), variance
        self.recompute = recompute
        self.patch, self.grid = patch, [-(-side // patch) for side in shape[1:]]
        self.width, self.heads, self.ratio, self.features, self.eps = width, heads, ratio, features, eps
        pixels = patch ** len(self.grid)
        self.embeds = nn.ModuleList(Embedding(features, FEATURES, width, self.conds) for _ in range(embeddings))
        self.stem = nn.Linear(pixels * taken(shape, self.conds), width)
        self.register_buffer("positions", positions(self.grid, width).to(torch.get_default_dtype()))  # (L, D)
        self.blocks = nn.ModuleList(Block(width, heads, int(ratio * width), eps) for _ in range(depth))
        self.norm = nn.LayerNorm(width, 1e-6, elementwise_affine=False)
        self.steer = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, pixels * shape[0] * (1 + variance))
        for layer in (self.steer, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, level: Tensor, cond: Cond | None = None) -> Tensor:
        cond = complete(self.conds, cond, x.shape[0], x.device)
        embeddings = [embed(level, cond) for embed in self.embeds]  # (B, D) each
        h = patches(padded(torch.cat(beside(x, self.conds, cond), dim=1), self.patch), self.patch)  # (B, L, p^n C)
        h = self.stem(h) + self.positions  # (B, L, D)
        for number, block in enumerate(self.blocks):
            h = run(block, h, embeddings[number % len(embeddings)], recompute=self.recompute)
        h = self.out(steered(self.norm(h), *self.steer(embeddings[0]).chunk(2, dim=1)))  # (B, L, p^n C or 2 p^n C)
        return cropped(assembled(h, self.patch, self.grid), x.shape[2:])  # (B, C or 2 C, ...)


FEATURES = 256  # of the level


class Block(nn.Module):
    """Attention, then a layer of each token, both steered and gated by the embedding.

    h = h + gate_1 out(attend(qkv(norm_1(h) (1 + scale_1) + shift_1)))
    h = h + gate_2 contract(gelu(expand(norm_2(h) (1 + scale_2) + shift_2)))
    """

    def __init__(self, width: int, heads: int, hidden: int, eps: tuple[float, float]) -> None:
        super().__init__()
        self.heads = heads
        self.steer = nn.Linear(width, 6 * width)  # shift, scale and gate of the first, then of the second
        self.norm1 = nn.LayerNorm(width, eps[0], elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps[1], elementwise_affine=False)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.steer(embedding).chunk(6, dim=1)  # (B, D) each
        h = h + gate1[:, None] * self.out(attend(self.qkv(steered(self.norm1(h), shift1, scale1)), self.heads))
        hidden = F.gelu(self.expand(steered(self.norm2(h), shift2, scale2)), approximate="tanh")  # (B, L, hidden)
        return h + gate2[:, None] * self.contract(hidden)  # (B, L, D)


def steered(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """h (1 + scale) + shift for every token: (B, L, D), (B, D), (B, D) -> (B, L, D)."""
    return torch.addcmul(shift[:, None], h, 1 + scale[:, None])
