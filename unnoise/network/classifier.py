"""The classifier of noised signals: half of ADM's U-Net. Its gradient guides a diffusion model.

Symbols at the margin: B batch, C channels of a sample, W channels of a level, E of the embedding, K classes; `...` stands for
(L,), (H, W) or (T, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unnoise.network.unet import check_levels
from unnoise.nn.attention import AttentionPool
from unnoise.nn.conv import conv, padded
from unnoise.nn.embed import Embedding
from unnoise.nn.levels import Levels
from unnoise.nn.norm import Norm


class Classifier(nn.Module):
    """log p(class | x_t) up to a constant, (B, K), of x at any noise level: the way down of a U-Net, its middle, and a pool.

    Args:
        shape: Of one sample, (C, ...); with attention as its pool, every sample has these sides.
        classes: How many, K.
        pool: "attention" lets the mean attend to all positions of the last activations, "adaptive" averages them;
            "spatial" averages those of every block on the way and puts two layers upon them, "spatial_v2" the same with
            a norm between.
        width, multipliers, blocks, attention, heads, head_width, dropout, embedding, resample, groups, eps: As for UNet.

    Raises:
        ValueError: For an option that does not fit.

    Reference: Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, section 4. arXiv:2105.05233
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        pool: str = "attention",
        width: int = 64,
        multipliers: Sequence[float] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (-1,),
        heads: int | None = None,
        head_width: int = 64,
        dropout: float = 0.0,
        embedding: str = "scale_shift",
        resample: str = "residual",
        groups: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        check_levels(shape, len(multipliers), attention)
        self.shape, self.classes, self.pool = tuple(shape), classes, pool
        self.widths, self.blocks = [int(multiplier * width) for multiplier in multipliers], blocks
        first, c = self.widths[0], self.widths[-1]
        levels = Levels(
            spatial=len(shape) - 1,
            dim=4 * width,
            attention={level % len(multipliers) for level in attention},
            heads=heads,
            head_width=head_width,
            resample=resample,
            dropout=dropout,
            embedding=embedding,
            groups=groups,
            eps=eps,
        )
        self.embed = Embedding("cos sin", width, levels.dim, {})
        self.stem = conv(levels.spatial, shape[0], first)
        self.down, channels = levels.down(first, self.widths, blocks)
        self.middle = levels.middle(c)
        if pool == "attention":
            length = math.prod(-(-side // self.multiple) for side in shape[1:])
            ends = [Norm(c, groups, eps), nn.SiLU(), AttentionPool(c, length, heads or max(1, c // head_width), classes)]
        elif pool == "adaptive":
            ends = [Norm(c, groups, eps), nn.SiLU(), Mean(), nn.Linear(c, classes)]
        elif pool == "spatial":
            ends = [nn.Linear(sum(channels) + c, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes)]
        elif pool == "spatial_v2":
            ends = [nn.Linear(sum(channels) + c, HIDDEN), Norm(HIDDEN, groups, eps), nn.SiLU(), nn.Linear(HIDDEN, classes)]
        else:
            raise ValueError(f"pool {pool!r}; expected attention, adaptive, spatial or spatial_v2")
        self.out = nn.Sequential(*ends)

    @property
    def multiple(self) -> int:
        return 2 ** (len(self.widths) - 1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        embedding = self.embed(level, {})  # (B, E)
        h = self.stem(padded(x, self.multiple))  # (B, W, ...)
        passed = [h]
        for chain in (*self.down, self.middle):
            h = chain(h, embedding)  # (B, W, ... / 2^level)
            passed.append(h)
        if self.pool.startswith("spatial"):
            h = torch.cat([a.flatten(2).mean(2) for a in passed], dim=1)  # (B, sum of W)
        return self.out(h)  # (B, K)


HIDDEN = 2048  # units between the two layers of the spatial pools


class Mean(nn.Module):
    """Over all positions: (B, C, ...) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)
