"""The U-Net of DDPM, Improved DDPM and ADM.

Symbols at the margin: B batch, C channels of a sample, W channels of a level, E of the embedding; `...` stands for (L,), (H, W)
or (T, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unnoise.condition import Conditions, complete
from unnoise.nn.conv import conv, cropped, padded
from unnoise.nn.embed import Embedding, beside
from unnoise.nn.levels import Levels
from unnoise.nn.norm import Norm
from unnoise.nn.recompute import run
from unnoise.tensor import Cond


class UNet(nn.Module):
    """Residual blocks down to small sizes and up again, each step up beside its fellow of the way down.

    A fresh network answers 0. Any number of channels, one to three spatial dimensions, any sides: those that are no
    multiple of 2^(levels - 1) are padded with zeros to the next one inside, and the answer is cropped. Conditions of
    route "vector" are added to the embedding of the level, those of route "concat" (of x's sides) to the channels of x.

    DDPM on CIFAR-10 is `UNet((3, 32, 32), width=128, multipliers=(1, 2, 2, 2), attention=(1,), heads=1, dropout=0.1,
    embedding="add", resample="conv_right", features="sin cos", eps=1e-6)`, 35,746,307 parameters; ADM has
    `resample="residual"` and heads of width 64, and for super-resolution the small picture, enlarged, as a condition of
    route "concat".

    Args:
        shape: Of one sample, (C, ...).
        conds: The conditions it takes.
        width: Channels at full size.
        multipliers: Of the width, one for each level, whole or not; each level has half the sides of the one before.
        blocks: Residual blocks a level on the way down; there is one more on the way up.
        attention: The levels that have attention, by index: 0 is full size, 1 half, -1 the smallest, so that they mean
            the same for every size and proportion of pictures.
        middle: Attention between the two middle blocks, at the smallest size, too.
        heads: Of attention; None: as many as there are whole `head_width`s in the channels, one at least.
        head_width: Channels of a head, unless `heads` is given.
        dropout: Inside the residual blocks.
        embedding: "scale_shift" steers the second norm of a block (Improved DDPM, ADM); "add" adds before it (DDPM).
        resample: "conv" halves by convolutions of stride 2, "conv_right" likewise, padded at the right only (DDPM);
            "pool" halves by means and doubles by repeating; "residual" does so inside a residual block (BigGAN, ADM).
        variance: Answer 2 C channels: the prediction, then the learned variance (Improved DDPM).
        features: Of the level: "cos sin" (ADM), "sin cos" (DDPM) or others. See `nn.Embedding`.
        dim: Of the embedding; None: 4 widths.
        groups: At most so many groups in a norm. None: 32, but of 4 channels or more.
        eps: Of the norms.
        zero_init: Blocks and attention start as the identity.
        recompute: Keep no activations inside the blocks but compute them anew going backward: less memory, more time.

    Raises:
        ValueError: For an option or a condition that does not fit.

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, appendix B. arXiv:2006.11239;
        Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021. arXiv:2102.09672;
        Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, section 3. arXiv:2105.05233
    """

    def __init__(
        self,
        shape: Sequence[int],
        conds: Conditions | None = None,
        width: int = 64,
        multipliers: Sequence[float] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (-1,),
        middle: bool = True,
        heads: int | None = None,
        head_width: int = 64,
        dropout: float = 0.0,
        embedding: str = "scale_shift",
        resample: str = "conv",
        variance: bool = False,
        features: str = "cos sin",
        dim: int | None = None,
        groups: int | None = None,
        eps: float = 1e-5,
        zero_init: bool = True,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        check_levels(shape, len(multipliers), attention)
        check_beside(shape, conds or {})
        self.shape, self.conds = tuple(shape), dict(conds or {})
        self.variance, self.recompute = variance, recompute
        self.widths, self.blocks = [int(multiplier * width) for multiplier in multipliers], blocks
        first, smallest = self.widths[0], self.widths[-1]
        levels = Levels(
            spatial=len(shape) - 1,
            dim=dim or 4 * width,
            attention={level % len(multipliers) for level in attention},
            heads=heads,
            head_width=head_width,
            resample=resample,
            dropout=dropout,
            embedding=embedding,
            groups=groups,
            eps=eps,
            zero=zero_init,
        )
        self.embed = Embedding(features, width, levels.dim, self.conds)
        self.stem = conv(levels.spatial, taken(shape, self.conds), first)
        self.down, channels = levels.down(first, self.widths, blocks)
        self.middle = levels.middle(smallest, middle)
        self.up = nn.ModuleList()
        *smaller, last = levels.up(channels, self.widths, blocks)
        for chains, size in zip(smaller, reversed(self.widths), strict=False):
            chains[-1].append(levels.larger(size))
            self.up.extend(chains)
        self.up.extend(last)
        self.out = nn.Sequential(Norm(first, groups, eps), nn.SiLU(), conv(levels.spatial, first, shape[0] * (1 + variance)))
        for parameter in self.out[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, level: Tensor, cond: Cond | None = None) -> Tensor:
        cond = complete(self.conds, cond, x.shape[0], x.device)
        embedding = self.embed(level, cond)  # (B, E)
        h = torch.cat(beside(x, self.conds, cond), dim=1)  # (B, C + concat, ...)
        h = self.stem(padded(h, 2 ** (len(self.widths) - 1)))  # (B, W_0, ...)
        skips = [h]
        for chain in self.down:
            h = run(chain, h, embedding, recompute=self.recompute)  # (B, W, ... / 2^level)
            skips.append(h)
        h = run(self.middle, h, embedding, recompute=self.recompute)
        for chain in self.up:
            h = run(chain, torch.cat([h, skips.pop()], dim=1), embedding, recompute=self.recompute)
        return cropped(self.out(h), x.shape[2:])  # (B, C or 2 C, ...)


def taken(shape: Sequence[int], conds: Conditions) -> int:
    """Channels of x with the conditions of route "concat" beside it."""
    return shape[0] + sum(condition.shape[0] for condition in conds.values() if condition.route == "concat")


def check_levels(shape: Sequence[int], levels: int, attention: Sequence[int]) -> None:
    """ValueError for samples that are no signals, and for attention at levels that are not there."""
    if len(shape) not in (2, 3, 4):
        raise ValueError(f"this network takes samples of shape (C, L), (C, H, W) or (C, T, H, W), not {tuple(shape)}")
    for level in attention:
        if not -levels <= level < levels:
            raise ValueError(f"attention at level {level}: expected 0 (full size) to {levels - 1}, or -1 for the last")


def check_beside(shape: Sequence[int], conds: Conditions) -> None:
    """ValueError for a condition of route "concat" that has not the sides of x."""
    for name, condition in conds.items():
        if condition.route == "concat" and (condition.classes or condition.shape[1:] != tuple(shape[1:])):
            raise ValueError(
                f"condition {name!r} of shape {condition.shape} cannot be laid beside x, {tuple(shape)}: "
                f"expected floats of shape (channels, {', '.join(map(str, shape[1:]))})"
            )
