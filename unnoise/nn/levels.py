"""The way down and up a U-Net, level by level: residual blocks, attention and resampling in chains."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from unnoise.nn.attention import Attention
from unnoise.nn.conv import Double, Downsample, Halve, Upsample, resampler
from unnoise.nn.residual import Residual


class Chain(nn.ModuleList):
    """Layers in a row, of which the residual blocks see the embedding."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, Residual) else layer(x)
        return x


@dataclass(frozen=True)
class Levels:
    """The blocks of one U-Net by what they share. `widths` are the channels of each level, full size first.

    Args:
        spatial: Number of dimensions.
        dim: Of the embedding.
        attention: The levels that have attention.
        heads: Of attention; None: as many as there are whole `head_width`s in the channels, one at least.
        head_width: Channels of a head, unless `heads` is given.
        embedding, resample: See `network.UNet`.
        taps: Of the filter inside a resampling residual block. See `Fir`.
        dropout, groups, eps, zero, scale: As for Residual.
        project: Resampling residual blocks have a convolution in their shortcut.

    Raises:
        ValueError: For another embedding or resampling.
    """

    spatial: int
    dim: int
    attention: Collection[int]
    heads: int | None
    head_width: int = 64
    embedding: str = "add"
    resample: str = "residual"
    taps: Sequence[float] = (1, 1)
    dropout: float = 0.0
    groups: int | None = None
    eps: float = 1e-5
    zero: bool = True
    scale: float = 1.0
    project: bool = False

    def __post_init__(self) -> None:
        for option, given, expected in (
            ("embedding", self.embedding, ("scale_shift", "add")),
            ("resample", self.resample, ("conv", "conv_right", "pool", "residual")),
        ):
            if given not in expected:
                raise ValueError(f"{option} {given!r}; expected {', '.join(expected)}")

    def down(self, c: int, widths: Sequence[int], blocks: int) -> tuple[nn.ModuleList, list[int]]:
        """The chains from c channels down, and the channels before each of them and after the last."""
        chains, channels = nn.ModuleList(), [c]
        for level, width in enumerate(widths):
            for _ in range(blocks):
                chains.append(self.step(channels[-1], width, level in self.attention))
                channels.append(width)
            if level < len(widths) - 1:
                chains.append(Chain([self.smaller(width)]))
                channels.append(width)
        return chains, channels

    def middle(self, c: int, attention: bool = True) -> Chain:
        """Two blocks at the smallest size, with attention between them."""
        return Chain([self.block(c, c), *([self.attend(c)] if attention else []), self.block(c, c)])

    def up(self, channels: list[int], widths: Sequence[int], blocks: int, last: bool = False) -> list[list[Chain]]:
        """The chains of each level, smallest first; each takes what the way down left, `channels`, beside its input.

        `last`: attention only after a level's last block.
        """
        skips, c, found = list(channels), channels[-1], []
        for level, width in reversed(list(enumerate(widths))):
            chains = []
            for i in range(blocks + 1):
                chains.append(self.step(c + skips.pop(), width, level in self.attention and (i == blocks or not last)))
                c = width
            found.append(chains)
        return found

    def step(self, c: int, out: int, attention: bool) -> Chain:
        return Chain([self.block(c, out), self.attend(out)] if attention else [self.block(c, out)])

    def block(self, c: int, out: int, resize: nn.Module | None = None) -> Residual:
        return Residual(
            self.spatial,
            c,
            out,
            dim=self.dim,
            scale_shift=self.embedding == "scale_shift",
            resample=resize,
            dropout=self.dropout,
            groups=self.groups,
            eps=self.eps,
            zero=self.zero,
            project=self.project and resize is not None,
            scale=self.scale,
        )

    def attend(self, c: int) -> Attention:
        return Attention(c, self.heads or max(1, c // self.head_width), self.groups, self.eps, self.zero, self.scale)

    def smaller(self, c: int) -> nn.Module:
        if self.resample == "residual":
            return self.block(c, c, resampler(self.spatial, self.taps, up=False))
        padding = "right" if self.resample == "conv_right" else "both"
        return Halve() if self.resample == "pool" else Downsample(self.spatial, c, padding)

    def larger(self, c: int) -> nn.Module:
        if self.resample == "residual":
            return self.block(c, c, resampler(self.spatial, self.taps, up=True))
        return Double() if self.resample == "pool" else Upsample(self.spatial, c)
