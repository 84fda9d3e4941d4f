"""The U-Net of DDPM, Improved DDPM and ADM.

Symbols at the margin: B batch, C channels of a sample, W width, E = 4 W; `...` stands for (L,), (H, W) or (T, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unnoise.condition import Conditions, complete
from unnoise.nn.attention import Attention
from unnoise.nn.conv import Double, Downsample, Halve, Upsample, conv
from unnoise.nn.embed import Embedding, beside
from unnoise.nn.norm import Norm
from unnoise.nn.residual import Residual
from unnoise.tensor import Cond


class Chain(nn.ModuleList):
    """Layers in a row, of which the residual blocks see the embedding."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, Residual) else layer(x)
        return x


class UNet(nn.Module):
    """Residual blocks down to small sizes and up again, each step up beside its fellow of the way down.

    A fresh network answers 0. Any number of channels, one to three spatial dimensions, any sides: those that are no
    multiple of 2^(levels - 1) are padded with zeros to the next one inside, and the answer is cropped. Conditions of
    route "vector" are added to the embedding of the level, those of route "concat" (of x's sides) to the channels of x.

    DDPM on CIFAR-10 is `UNet((3, 32, 32), width=128, multipliers=(1, 2, 2, 2), attention=(1,), heads=1, dropout=0.1,
    embedding="add", resample="conv_right", features="sin cos", eps=1e-6)`, 35,746,307 parameters; ADM has
    `resample="residual"` and heads of width 64.

    Args:
        shape: Of one sample, (C, ...).
        conds: The conditions it takes.
        width: Channels at full size.
        multipliers: Of the width, one for each level; each level has half the sides of the one before.
        blocks: Residual blocks a level on the way down; there is one more on the way up.
        attention: The levels that have attention, by index: 0 is full size, 1 half, -1 the smallest, so that they mean
            the same for every size and proportion of pictures. The middle, at the smallest size, has it always.
        heads: Of attention; None: as many as there are whole `head_width`s in the channels, one at least.
        head_width: Channels of a head, unless `heads` is given.
        dropout: Inside the residual blocks.
        embedding: "scale_shift" steers the second norm of a block (Improved DDPM, ADM); "add" adds before it (DDPM).
        resample: "conv" halves by convolutions of stride 2, "conv_right" likewise, padded at the right only (DDPM);
            "pool" halves by means and doubles by repeating; "residual" does so inside a residual block (BigGAN, ADM).
        variance: Answer 2 C channels: the prediction, then the learned variance (Improved DDPM).
        features: Of the level: "cos sin" (ADM), "sin cos" (DDPM) or "fourier". See `nn.Embedding`.
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
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (-1,),
        heads: int | None = None,
        head_width: int = 64,
        dropout: float = 0.0,
        embedding: str = "scale_shift",
        resample: str = "conv",
        variance: bool = False,
        features: str = "cos sin",
        groups: int | None = None,
        eps: float = 1e-5,
        zero_init: bool = True,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.conds = dict(conds or {})
        self.variance = variance
        self.recompute = recompute
        self.multiple = 2 ** (len(multipliers) - 1)
        channels, spatial, levels = shape[0], len(shape) - 1, len(multipliers)
        _check(shape, self.conds, levels, attention, embedding, resample)

        attended = {level % levels for level in attention}
        taken = channels + sum(c.shape[0] for c in self.conds.values() if c.route == "concat")
        E = 4 * width

        def block(c: int, out: int, resize: nn.Module | None = None) -> Residual:
            return Residual(
                spatial, c, out, E, embedding == "scale_shift", resize, dropout, groups=groups, eps=eps, zero=zero_init
            )

        def attend(c: int) -> Attention:
            return Attention(c, heads or max(1, c // head_width), groups, eps, zero_init)

        def step(c: int, out: int, level: int) -> list[nn.Module]:
            return [block(c, out), attend(out)] if level in attended else [block(c, out)]

        def smaller(c: int) -> nn.Module:
            if resample == "pool":
                return Halve()
            if resample == "residual":
                return block(c, c, Halve())
            return Downsample(spatial, c, padding="right" if resample == "conv_right" else "both")

        def larger(c: int) -> nn.Module:
            if resample == "pool":
                return Double()
            return block(c, c, Double()) if resample == "residual" else Upsample(spatial, c)

        self.embed = Embedding(features, width, E, self.conds)
        self.stem = conv(spatial, taken, width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        c, skips = width, [width]  # the channels now; of each activation on the way down
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(Chain(step(c, multiplier * width, level)))
                skips.append(c := multiplier * width)
            if level < levels - 1:
                self.down.append(Chain([smaller(c)]))
                skips.append(c)
        self.middle = Chain([block(c, c), attend(c), block(c, c)])
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for i in range(blocks + 1):
                layers = step(c + skips.pop(), multiplier * width, level)
                c = multiplier * width
                self.up.append(Chain([*layers, larger(c)] if i == blocks and level > 0 else layers))
        self.out = nn.Sequential(Norm(c, groups, eps), nn.SiLU(), conv(spatial, c, channels * (1 + variance)))
        for parameter in self.out[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, level: Tensor, cond: Cond | None = None) -> Tensor:
        cond = complete(self.conds, cond, len(x), x.device)
        embedding = self.embed(level, cond)  # (B, E)
        h = torch.cat(beside(x, self.conds, cond), dim=1)  # (B, C + concat, ...)
        h = self.stem(self.pad(h))  # (B, W, ...)
        skips = [h]
        for chain in self.down:
            h = self.run(chain, h, embedding)  # (B, m W, ... / 2^level)
            skips.append(h)
        h = self.run(self.middle, h, embedding)
        for chain in self.up:
            h = self.run(chain, torch.cat([h, skips.pop()], dim=1), embedding)
        h = self.out(h)  # (B, C or 2 C, ...)
        return h[(..., *(slice(side) for side in x.shape[2:]))]

    def pad(self, x: Tensor) -> Tensor:
        missing = [-side % self.multiple for side in x.shape[2:]]
        return F.pad(x, [n for side in reversed(missing) for n in (0, side)]) if any(missing) else x

    def run(self, chain: nn.Module, h: Tensor, embedding: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(chain, h, embedding, use_reentrant=False)
        return chain(h, embedding)


def _check(shape: Sequence[int], conds: Conditions, levels: int, attention: Sequence[int], embedding: str, resample: str) -> None:
    """What can be told before anything is built."""
    if len(shape) not in (2, 3, 4):
        raise ValueError(f"a U-Net takes samples of shape (C, L), (C, H, W) or (C, T, H, W), not {tuple(shape)}")
    for level in attention:
        if not -levels <= level < levels:
            raise ValueError(f"attention at level {level}: expected 0 (full size) to {levels - 1}, or -1 for the last")
    for option, given, expected in (
        ("embedding", embedding, ("scale_shift", "add")),
        ("resample", resample, ("conv", "conv_right", "pool", "residual")),
    ):
        if given not in expected:
            raise ValueError(f"{option} {given!r}; expected {', '.join(expected)}")
    for name, condition in conds.items():
        if condition.route == "concat" and (condition.classes or condition.shape[1:] != tuple(shape[1:])):
            raise ValueError(
                f"condition {name!r} of shape {condition.shape} cannot be laid beside x, {tuple(shape)}: "
                f"expected floats of shape (channels, {', '.join(map(str, shape[1:]))})"
            )
