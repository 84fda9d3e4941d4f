"""Operators drawn at random: what conditional networks are trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unnoise.condition import Condition
from unnoise.operator.base import Identity, Operator
from unnoise.operator.mask import Mask
from unnoise.tensor import Cond, Rng

HOLE, NOISE = "hole", "noise"  # conditions, by name
SMALLEST, LARGEST = 0.25, 0.75  # sides of a box, as shares of the picture's
POINTS, THICK = 5, (0.04, 0.12)  # corners of a stroke; its half width, as a share of the shorter side
Kind = Literal["box", "stroke", "half"]


class Law(ABC):
    """A law of operators. What is drawn is told to the network, as conditions, and makes the operator again."""

    @abstractmethod
    def conds(self, shape: Sequence[int]) -> dict[str, Condition]:
        """What is told of a draw, for x of a shape (C, H, W)."""

    @abstractmethod
    def drawn(self, like: Tensor, rng: Rng) -> dict[str, Tensor]:
        """One draw for each row of `like`, (B, C, H, W), and stream of `rng`, as it is told."""

    @abstractmethod
    def operator(self, told: Cond) -> Operator:
        """The operator of what was told."""


@dataclass(frozen=True)
class Holes(Law):
    """Masks: each sample has one hole, of a kind drawn evenly. Told as `hole`, (1, H, W): 1 is to be painted, 0 is known.

    Args:
        kinds: "box" (sides between a quarter and three quarters of the picture's), "stroke" (four thick lines from corner to
            corner) and "half" (left, right, upper or lower).

    Raises:
        ValueError: For no kind.

    Reference: free-form strokes: Yu et al., Free-Form Image Inpainting with Gated Convolution, 2019, section 3.4 (there with
    curved ends). arXiv:1806.03589
    """

    kinds: tuple[Kind, ...] = ("box", "stroke", "half")

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        if not self.kinds:
            raise ValueError("kinds is empty; expected some of box, stroke and half")

    def conds(self, shape: Sequence[int]) -> dict[str, Condition]:
        return {HOLE: Condition("concat", (1, *shape[1:]), drop=0.0)}

    def drawn(self, like: Tensor, rng: Rng) -> dict[str, Tensor]:
        high, wide = like.shape[-2:]
        makers = {"box": _box, "stroke": _stroke, "half": _half}
        masks = torch.stack([makers[kind](rng, high, wide) for kind in self.kinds], 1)  # (B, kinds, H, W)
        chosen = rng.integers(len(self.kinds), (1, 1, 1), "hole kind").expand(-1, 1, high, wide)
        return {HOLE: masks.gather(1, chosen).to(like)}

    def operator(self, told: Cond) -> Operator:
        return Mask(told[HOLE])


@dataclass(frozen=True)
class Noise(Law):
    """White noise on what was measured, of a standard deviation that is drawn evenly from 0 to `most` and told as `noise`.

    A network trained so takes measurements that are not quite right, as the samples of another model are (conditioning
    augmentation), and is told at sampling how little it may trust them.

    Args:
        most: In units of y.

    Raises:
        ValueError: If it is not positive.

    Reference: Ho et al., Cascaded Diffusion Models for High Fidelity Image Generation, 2021, section 4. arXiv:2106.15282
    """

    most: float = 0.5

    def __post_init__(self) -> None:
        if not self.most > 0:
            raise ValueError(f"most is {self.most:g}; expected a positive standard deviation")

    def conds(self, shape: Sequence[int]) -> dict[str, Condition]:
        return {NOISE: Condition(drop=0.0, mean=self.most / 2, std=self.most / 12**0.5)}

    def drawn(self, like: Tensor, rng: Rng) -> dict[str, Tensor]:
        return {NOISE: (self.most * rng.uniform((), "noise level")).to(like)}

    def operator(self, told: Cond) -> Operator:
        return Identity()


def _grid(high: int, wide: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The middles of pixels, rows (H, 1) and columns (1, W), in pixels."""
    return torch.arange(high).to(like)[:, None] + 0.5, torch.arange(wide).to(like) + 0.5


def _box(rng: Rng, high: int, wide: int) -> Tensor:
    u = rng.uniform((4, 1, 1), "box")
    down, right = _grid(high, wide, u)
    size = SMALLEST + (LARGEST - SMALLEST) * u[:, :2]
    return _within(down, high, size[:, 0], u[:, 2]) & _within(right, wide, size[:, 1], u[:, 3])


def _within(place: Tensor, side: int, size: Tensor, where: Tensor) -> Tensor:
    """Whether pixels lie in whole intervals of a side, (B, 1, 1) of it long, and so far along what is left."""
    length = (side * size).round()
    first = ((side - length) * where).round()
    return (place > first) & (place < first + length)


def _half(rng: Rng, high: int, wide: int) -> Tensor:
    side = rng.integers(4, (1, 1), "half")
    down, right = _grid(high, wide, rng.uniform((), "half"))
    place = torch.where(side < 2, down.expand(high, wide) / high, right.expand(high, wide) / wide)
    return (place > 0.5) == (side % 2 == 0)


def _stroke(rng: Rng, high: int, wide: int) -> Tensor:
    u = rng.uniform((2 * POINTS + 1,), "stroke")
    down, right = _grid(high, wide, u)
    rows, columns = high * u[:, :POINTS, None, None], wide * u[:, POINTS : 2 * POINTS, None, None]  # (B, points, 1, 1)
    half = min(high, wide) * (THICK[0] + (THICK[1] - THICK[0]) * u[:, -1:, None, None])
    along = rows[:, 1:] - rows[:, :-1], columns[:, 1:] - columns[:, :-1]
    off = down - rows[:, :-1], right - columns[:, :-1]
    share = (along[0] * off[0] + along[1] * off[1]) / (along[0] ** 2 + along[1] ** 2).clamp(min=1e-6)
    share = share.clamp(0, 1)  # of the line, where it is nearest
    distance = ((off[0] - share * along[0]) ** 2 + (off[1] - share * along[1]) ** 2).sqrt()
    return (distance < half).any(1)
