"""NCSN++ and DDPM++, the U-Nets of score-based generative modelling.

Symbols at the margin: B batch, C channels of a sample, W channels of a level, E of the embedding; `...` stands for (L,), (H, W)
or (T, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unnoise.condition import Conditions, complete
from unnoise.network.unet import check_beside, check_levels, taken
from unnoise.nn.conv import Fir, conv, cropped, padded, resampler
from unnoise.nn.embed import Embedding, beside
from unnoise.nn.levels import Chain, Levels
from unnoise.nn.norm import Norm
from unnoise.nn.recompute import run
from unnoise.tensor import Cond

HALF = math.sqrt(0.5)  # keeps the variance of a sum of two


class NCSNpp(nn.Module):
    """A U-Net whose sums keep their variance and whose resampling is smooth; small copies of x may enter on the way down.

    A fresh network answers 0. Sides and conditions are as in `UNet`, but the conditions of route "vector" are added to the
    features of the level, before its two layers. On the way up only a level's last block has attention.

    DDPM++ has the defaults; NCSN++ has `features="fourier", noise=2, inputs="residual", taps=(1, 3, 3, 1)`.

    Args:
        shape: Of one sample, (C, ...).
        conds: The conditions it takes.
        width: Channels at full size.
        multipliers, blocks, attention, heads, dropout, variance, groups, eps, zero_init, recompute: As for UNet.
        features: Of the level: "sin cos", "fourier" or others. See `nn.Embedding`.
        noise: Number of those features, in widths.
        inputs: What smaller copies of x do on the way down: "none"; "skip" adds x, halved again and again, through a 1x1
            convolution; "residual" adds what a convolution and a filter make of the sum before.
        outputs: What x is made from: "none", the last activations; "skip", the sum of what each level makes, enlarged.
        taps: Of the resampling filter. See `nn.Fir`.

    Raises:
        ValueError: For an option or a condition that does not fit.

    Reference: Song et al., Score-Based Generative Modeling through SDEs, 2021, section 4.3 and appendix H.
        arXiv:2011.13456; Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
        appendix F.3 and table 7. arXiv:2206.00364
    """

    def __init__(
        self,
        shape: Sequence[int],
        conds: Conditions | None = None,
        width: int = 128,
        multipliers: Sequence[int] = (2, 2, 2),
        blocks: int = 4,
        attention: Sequence[int] = (1,),
        heads: int = 1,
        dropout: float = 0.1,
        variance: bool = False,
        features: str = "sin cos",
        noise: int = 1,
        inputs: str = "none",
        outputs: str = "none",
        taps: Sequence[float] = (1, 1),
        groups: int | None = None,
        eps: float = 1e-6,
        zero_init: bool = True,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        check_levels(shape, len(multipliers), attention)
        check_beside(shape, conds or {})
        self.shape = tuple(shape)
        if inputs not in ("none", *INPUTS):
            raise ValueError(f"inputs {inputs!r}; expected none, skip or residual")
        if outputs not in ("none", "skip"):
            raise ValueError(f"outputs {outputs!r}; expected none or skip")
        self.conds, self.variance, self.recompute = dict(conds or {}), variance, recompute
        self.widths, self.blocks = [multiplier * width for multiplier in multipliers], blocks
        spatial, given, made = len(shape) - 1, taken(shape, self.conds), shape[0] * (1 + variance)
        levels = Levels(
            spatial=spatial,
            dim=4 * width,
            attention={level % len(multipliers) for level in attention},
            heads=heads,
            taps=taps,
            dropout=dropout,
            groups=groups,
            eps=eps,
            zero=zero_init,
            scale=HALF,
            project=True,
        )
        self.embed = Embedding(features, noise * width, levels.dim, self.conds, early=True)
        self.stem = conv(spatial, given, width)
        self.down, channels = levels.down(width, self.widths, blocks)
        self.inputs = nn.ModuleDict()  # by the number of the chain that they follow
        for level, c in enumerate(self.widths[:-1]):
            if inputs != "none":
                self.inputs[str(level * (blocks + 1) + blocks)] = INPUTS[inputs](spatial, given, c, taps)
                given = c if inputs == "residual" else given
        self.middle = levels.middle(self.widths[-1])
        self.up = nn.ModuleList(nn.ModuleList(chains) for chains in levels.up(channels, self.widths, blocks, last=True))
        self.larger = nn.ModuleList(Chain([levels.larger(c)]) for c in self.widths[:0:-1])
        self.enlarge = resampler(spatial, taps, up=True) if outputs == "skip" else None
        self.outs = nn.ModuleList()  # smallest first; of full size only, unless each level makes its part
        for c in reversed(self.widths if outputs == "skip" else self.widths[:1]):
            last = conv(spatial, c, made)
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
            self.outs.append(nn.Sequential(Norm(c, groups, eps), nn.SiLU(), last))

    def forward(self, x: Tensor, level: Tensor, cond: Cond | None = None) -> Tensor:
        cond = complete(self.conds, cond, x.shape[0], x.device)
        embedding = self.embed(level, cond)  # (B, E)
        small = padded(torch.cat(beside(x, self.conds, cond), dim=1), 2 ** (len(self.widths) - 1))  # (B, C + concat, ...)
        h = self.stem(small)  # (B, W, ...)
        skips = [h]
        for number, chain in enumerate(self.down):
            h = run(chain, h, embedding, recompute=self.recompute)  # (B, W, ... / 2^level)
            if str(number) in self.inputs:
                h, small = self.inputs[str(number)](h, small)
            skips.append(h)
        h = run(self.middle, h, embedding, recompute=self.recompute)
        if self.enlarge is None:
            return cropped(self.outs[0](self.rise(h, skips, embedding)[-1]), x.shape[2:])  # (B, C or 2 C, ...)
        parts = [out(h) for out, h in zip(self.outs, self.rise(h, skips, embedding), strict=True)]
        made = parts[0]
        for part in parts[1:]:
            made = self.enlarge(made) + part  # (B, C or 2 C, ... / 2^level)
        return cropped(made, x.shape[2:])

    def rise(self, h: Tensor, skips: list[Tensor], embedding: Tensor) -> list[Tensor]:
        """The last activations of each level on the way up, smallest first."""
        found = []
        for number, chains in enumerate(self.up):
            if number > 0:
                h = self.larger[number - 1](h, embedding)
            for chain in chains.children():
                h = run(chain, torch.cat([h, skips.pop()], dim=1), embedding, recompute=self.recompute)  # (B, W, ... / 2^level)
            found.append(h)
        return found


class SkipInput(nn.Module):
    """h + project(x'), x' = x halved. Returns that and x'."""

    def __init__(self, spatial: int, channels: int, out: int, taps: Sequence[float]) -> None:
        super().__init__()
        self.halve = resampler(spatial, taps, up=False)
        self.project = conv(spatial, channels, out, kernel=1, padding=0)

    def forward(self, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.halve(x)
        return h + self.project(x), x


class ResidualInput(nn.Module):
    """(h + halve(conv(x))) / sqrt(2), to be both the activations and the next x. What conv says beyond the edges counts."""

    def __init__(self, spatial: int, channels: int, out: int, taps: Sequence[float]) -> None:
        super().__init__()
        self.conv = conv(spatial, channels, out, padding=len(taps) // 2)
        self.halve = Fir(spatial, taps, up=False, pad=False)

    def forward(self, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = (h + self.halve(self.conv(x))) * HALF
        return h, h


INPUTS: dict[str, type[SkipInput] | type[ResidualInput]] = {"skip": SkipInput, "residual": ResidualInput}
