"""The Inception network that published Frechet and Inception scores are of, in the names that its converted weights have.

Every convolution is followed by batch normalisation (epsilon 0.001) and ReLU; what pads its pooling leaves the border out.

Reference: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016, section 6, arXiv:1512.00567, in the
variant of 2015-12-05 with 1,008 classes of Heusel et al., 2017, arXiv:1706.08500.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.metric.features.base import digest

SIDE = 299
CLASSES = 1008
CHUNK = 32  # pictures in one evaluation

Kernel = int | tuple[int, int]
Chain = Sequence[tuple[str, int, Kernel, int]]  # name, channels, kernel and stride of convolutions, one after another
WIDE, TALL = (1, 7), (7, 1)


class Conv(nn.Module):
    """Convolution, batch normalisation, ReLU; of stride 1 it keeps the sides unless `pad` says otherwise."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if pad and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Chains of convolutions side by side, and a pooled one; their channels one after another.

    Args:
        inputs: Channels.
        chains: Of convolutions. A name that ends in "a" and the next, in "b", both take what came before them.
        pool: "mean", "max", or "halve" for the largest of each 3 x 3 at stride 2.
        pooled: Channels of the 1 x 1 convolution behind the pool; 0 for none.
    """

    def __init__(self, inputs: int, chains: Sequence[Chain], pool: str, pooled: int = 0) -> None:
        super().__init__()
        self.chains, self.pool = [[name for name, *_ in chain] for chain in chains], pool
        self.channels = pooled or inputs
        for chain in chains:
            width, fork = inputs, inputs
            for name, outputs, kernel, stride in chain:
                fork = fork if name.endswith("b") else width
                setattr(self, name, Conv(fork, outputs, kernel, stride))
                width = outputs
            self.channels += sum(outputs for name, outputs, *_ in chain if name == chain[-1][0] or name.endswith("a"))
        if pooled:
            self.branch_pool = Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for chain in self.chains:
            y = before = x
            for name in chain:
                if name.endswith("b"):
                    found.append(y)
                before = before if name.endswith("b") else y
                y = getattr(self, name)(before)
            found.append(y)
        found.append(self._pooled(x))
        return torch.cat(found, 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "halve":
            return F.max_pool2d(x, 3, 2)
        mean = self.pool == "mean"
        return self.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if mean else F.max_pool2d(x, 3, 1, 1))


class Inception(nn.Module):
    """Features (B, 2048) of colour pictures in [-1, 1] (grey ones are repeated), and probabilities of 1,008 classes.

    Args:
        resize: "bilinear", as the first implementation did it: places are multiplied by the ratio of the sides, no antialiasing,
            so that a corner stays where it is; or "bicubic", antialiased and centred, as Parmar et al., On Aliased Resizing and
            Surprising Subtleties in GAN Evaluation, 2022, section 3, ask for. arXiv:2104.11222
    """

    def __init__(self, resize: str = "bilinear") -> None:
        super().__init__()
        if resize not in ("bilinear", "bicubic"):
            raise ValueError(f"resize = {resize!r}; expected bilinear or bicubic")
        self.resize = resize
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, pad=False)
        width = 192
        for name, chains, pool, pooled in _blocks():
            mixed = Mixed(width, chains, pool, pooled)
            setattr(self, name, mixed)
            width = mixed.channels
        self.fc = nn.Linear(width, CLASSES)

    @property
    def name(self) -> str:
        """Of its features."""
        return f"inception-{self.resize}"

    @cached_property
    def digest(self) -> str:
        """Of its weights; asked for once they are there."""
        return digest(self)

    def load(self, weights: Mapping[str, Tensor], name: str = "the weights") -> Inception:
        """Takes converted weights, and returns itself; ValueError where they are not those of this network."""
        ours = self.state_dict()
        kept = {key: value for key, value in weights.items() if not key.startswith("AuxLogits.")}
        known = {key for key in ours if not key.endswith("num_batches_tracked")}
        wrong = sorted(known ^ {key for key in kept if not key.endswith("num_batches_tracked")})
        wrong = wrong or [key for key in known if ours[key].shape != kept[key].shape]
        if wrong:
            raise ValueError(f"{name}: not an Inception network of 2015-12-05 (at {wrong[0]})")
        self.load_state_dict({**ours, **kept})
        return self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Features of pictures that are resized already, (B, 3, 299, 299) in [-1, 1] -> (B, 2048)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, *_ in _blocks():
            x = getattr(self, name)(x)
        return x.mean((2, 3))

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Of pictures (B, 1 or 3, H, W) in [-1, 1], as they come from 8-bit files: (B, 2048)."""
        return torch.cat([self.eval()(self._resized(part)) for part in x.split(CHUNK)])

    @torch.no_grad()
    def probabilities(self, rows: Tensor) -> Tensor:
        """Of each of 1,008 classes, (B, 1008), for features (B, 2048); without the bias, as Inception scores are taken."""
        return (rows @ self.fc.weight.T).softmax(1)

    def _resized(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"samples of shape {tuple(x.shape[1:])}: Inception takes grey or colour pictures")
        levels = ((x + 1) * 127.5).round().expand(-1, 3, -1, -1)
        if self.resize == "bicubic":
            levels = F.interpolate(levels, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 255)
        elif tuple(x.shape[2:]) != (SIDE, SIDE):
            levels = _corner(_corner(levels, 2), 3)
        return (levels - 128) / 128


def _corner(x: Tensor, dim: int) -> Tensor:
    """One side to 299: bilinear between floor(i r) and the next, r the ratio of the sides."""
    n = x.shape[dim]
    place = torch.arange(SIDE, dtype=torch.float32, device=x.device) * (n / SIDE)
    low = place.floor().long()
    shape = [SIDE if d == dim else 1 for d in range(4)]
    return torch.lerp(x.index_select(dim, low), x.index_select(dim, (low + 1).clamp(max=n - 1)), (place - low).reshape(shape))


def _blocks() -> list[tuple[str, list[Chain], str, int]]:
    """The mixed layers: name, chains, pool, channels behind the pool."""
    blocks: list[tuple[str, list[Chain], str, int]] = []
    double: Chain = [("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 1), ("branch3x3dbl_3", 96, 3, 1)]
    five: Chain = [("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 1)]
    for letter, pooled in (("b", 32), ("c", 64), ("d", 64)):
        blocks.append((f"Mixed_5{letter}", [[("branch1x1", 64, 1, 1)], five, double], "mean", pooled))
    halved: Chain = [*double[:2], ("branch3x3dbl_3", 96, 3, 2)]
    blocks.append(("Mixed_6a", [[("branch3x3", 384, 3, 2)], halved], "halve", 0))
    for letter, c in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
        seven: Chain = [("branch7x7_1", c, 1, 1), ("branch7x7_2", c, WIDE, 1), ("branch7x7_3", 192, TALL, 1)]
        twice: Chain = [("branch7x7dbl_1", c, 1, 1), ("branch7x7dbl_2", c, TALL, 1), ("branch7x7dbl_3", c, WIDE, 1),
                        ("branch7x7dbl_4", c, TALL, 1), ("branch7x7dbl_5", 192, WIDE, 1)]  # fmt: skip
        blocks.append((f"Mixed_6{letter}", [[("branch1x1", 192, 1, 1)], seven, twice], "mean", 192))
    three: Chain = [("branch3x3_1", 192, 1, 1), ("branch3x3_2", 320, 3, 2)]
    crossed: Chain = [("branch7x7x3_1", 192, 1, 1), ("branch7x7x3_2", 192, WIDE, 1), ("branch7x7x3_3", 192, TALL, 1),
                      ("branch7x7x3_4", 192, 3, 2)]  # fmt: skip
    blocks.append(("Mixed_7a", [three, crossed], "halve", 0))
    forked: Chain = [("branch3x3_1", 384, 1, 1), ("branch3x3_2a", 384, (1, 3), 1), ("branch3x3_2b", 384, (3, 1), 1)]
    deep: Chain = [("branch3x3dbl_1", 448, 1, 1), ("branch3x3dbl_2", 384, 3, 1), ("branch3x3dbl_3a", 384, (1, 3), 1),
                   ("branch3x3dbl_3b", 384, (3, 1), 1)]  # fmt: skip
    for letter, pool in (("b", "mean"), ("c", "max")):
        blocks.append((f"Mixed_7{letter}", [[("branch1x1", 320, 1, 1)], forked, deep], pool, 192))
    return blocks
