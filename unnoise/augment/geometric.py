"""Pictures mirrored, turned, stretched and shifted; the network is told how, so that its samples are none of that.

Pixels are counted from the middle of the picture, x to the right and y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from unnoise.condition import Condition
from unnoise.tensor import Rng, expand

AUGMENT = "augment"  # the condition, by name


class Augment(Protocol):
    """A way to vary x that the network is told of: at the condition's null it has seen x as they are, so samples are as x."""

    def conds(self, shape: tuple[int, ...]) -> dict[str, Condition]:
        """The conditions that tell of it, for x of this shape; ValueError where such x cannot be varied."""
        ...

    def __call__(self, x: Tensor, rng: Rng) -> dict[str, Tensor]:
        """The varied x, (B, *shape), and the conditions, each row a function of its own stream."""
        ...


class Moves(NamedTuple):
    """What happens to each picture, (B,) each; NaN is nothing.

    Attributes:
        mirror, upset: 1: left for right, top for bottom.
        scale: In deviations; the factor is 2^(scale deviation).
        turn: Against the clock, in radians.
        along, stretch: A direction, in radians, in which the picture grows by 2^(stretch deviation), and shrinks across.
        right, down: In deviations of the width and the height.
    """

    mirror: Tensor
    upset: Tensor
    scale: Tensor
    turn: Tensor
    along: Tensor
    stretch: Tensor
    right: Tensor
    down: Tensor

    def told(self) -> Tensor:
        """(B, 9): mirror, upset, scale, cos - 1 and sin of the turn, stretch cos and sin of twice its direction, right, down.

        Twice, as a direction and its opposite are one: by the angle itself (-stretch, along) would be told as
        (stretch, along + pi) is, which grows where the other shrinks.
        """
        turned = [self.turn.cos() - 1, self.turn.sin()]
        stretched = [self.stretch * (2 * self.along).cos(), self.stretch * (2 * self.along).sin()]
        return torch.stack([self.mirror, self.upset, self.scale, *turned, *stretched, self.right, self.down], 1)


@dataclass(frozen=True)
class Geometric:
    """Non-leaking augmentation: each kind of move happens to a picture with a probability of its own, and is told.

        x'(p) = x(M^-1 p),   M = shift . stretch . turn . scale . upset . mirror

    The condition `augment`, (B, 9), tells of every move, NaN for those that did not happen. Sampling leaves the condition
    at its null, all NaN: what the network has seen of pictures as they are. Pictures are read between their pixels by cubic
    interpolation, beyond their border as mirrored there; mirrored alone they are the same to the bit.

    Args:
        probability: Of each kind of move, independently.
        mirror: Mirror half of all pictures, left for right, and tell; in place of the domain's `flip`, which is not told.
        upset: Turn half of those chosen top for bottom.
        scale: Deviation of the factor, in powers of 2; 0 for none.
        turn: Turn by any angle, evenly.
        stretch: Deviation of the factor along a random direction, in powers of 2, its inverse across; 0 for none.
        shift: Deviation, as a share of width and height; 0 for none.

    Raises:
        ValueError: For numbers that are none of these.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, appendix F.2 and table 6.
    arXiv:2206.00364
    """

    probability: float = 0.12
    mirror: bool = True
    upset: bool = True
    scale: float = 0.2
    turn: bool = True
    stretch: float = 0.2
    shift: float = 0.125

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability = {self.probability}; expected a share, 0 to 1")
        for name in ("scale", "stretch", "shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}; expected a deviation, 0 to 1")

    def conds(self, shape: tuple[int, ...]) -> dict[str, Condition]:
        if len(shape) != 3:
            raise ValueError(f"samples of shape {tuple(shape)} are no pictures (C, H, W), which alone are turned and shifted")
        return {AUGMENT: Condition(shape=(9,), drop=0.0)}

    def __call__(self, x: Tensor, rng: Rng) -> dict[str, Tensor]:
        moves = Moves(*(move.to(x.device, non_blocking=True) for move in self.moves(rng)))
        return {"x": self.moved(x, moves), AUGMENT: moves.told()}

    def moves(self, rng: Rng) -> Moves:
        """One draw for each stream."""
        chosen = rng.uniform((5,), "augment") < self.probability
        half = rng.uniform((2,), "augment half") < 0.5
        angle = (2 * rng.uniform((2,), "augment angle") - 1) * math.pi
        normal = rng.normal((4,), "augment normal")

        def only(happens: Tensor, value: Tensor) -> Tensor:
            return torch.where(happens, value, torch.nan)

        upset, scale, turn, stretch, shift = (
            chosen[:, i] & bool(wanted) for i, wanted in enumerate([self.upset, self.scale, self.turn, self.stretch, self.shift])
        )
        one = torch.ones_like(angle[:, 0])
        return Moves(
            mirror=only(half[:, 0] & self.mirror, one),
            upset=only(half[:, 1] & upset, one),
            scale=only(scale, normal[:, 0]),
            turn=only(turn, angle[:, 0]),
            along=only(stretch, angle[:, 1]),
            stretch=only(stretch, normal[:, 1]),
            right=only(shift, normal[:, 2]),
            down=only(shift, normal[:, 3]),
        )

    def moved(self, x: Tensor, moves: Moves) -> Tensor:
        """Pictures x, (B, C, H, W), moved."""
        x = torch.where(expand(moves.mirror == 1, x), x.flip(-1), x)
        x = torch.where(expand(moves.upset == 1, x), x.flip(-2), x)
        still = torch.stack(moves[2:]).isnan().all(0)
        drawn = F.grid_sample(x, self._grid(x, moves), mode="bicubic", padding_mode="reflection", align_corners=False)
        return torch.where(expand(still, x), x, drawn)

    def _grid(self, x: Tensor, moves: Moves) -> Tensor:
        """Where each pixel of the moved picture is read, (B, H, W, 2), as shares of half the sides from the middle."""
        height, width = x.shape[-2:]
        _, _, scale, turn, along, stretch, right, down = (expand(move.nan_to_num(0.0), x[:, 0]) for move in moves)
        across = torch.arange(width, device=x.device) - (width - 1) / 2  # (W,)
        below = torch.arange(height, device=x.device) - (height - 1) / 2
        u, v = across - right * (self.shift * width), below[:, None] - down * (self.shift * height)  # (B, 1, W), (B, H, 1)
        cos, sin, grown = along.cos(), along.sin(), 2 ** (self.stretch * stretch)
        inside, outside = (u * cos - v * sin) / grown, (u * sin + v * cos) * grown  # (B, H, W)
        u, v = inside * cos + outside * sin, outside * cos - inside * sin
        u, v = u * turn.cos() - v * turn.sin(), u * turn.sin() + v * turn.cos()
        shrunk = 2 ** (-self.scale * scale)
        return torch.stack([u * shrunk * (2 / width), v * shrunk * (2 / height)], -1).to(x.dtype)
