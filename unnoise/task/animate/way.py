"""Ways through noise, and an even pace along them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unnoise.tensor import expand

ROUNDS = 3  # of evening out the pace


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Points on the great circle from a to b at shares of its angle, (n, *shape): sin((1 - u) w) a / sin w + sin(u w) b / sin w.

    Which keeps their length, and so their law, as a straight line would not.

    Reference: Shoemake, Animating Rotation with Quaternion Curves, 1985, section 3.3.
    """
    cosine = (a * b).sum() / (a.norm() * b.norm())
    angle = cosine.double().clamp(-1, 1).acos()
    if angle.sin() < 1e-6:
        weights = 1 - share, share
    else:
        weights = ((1 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin()
    first, second = (expand(weight.to(a), a[None]) for weight in weights)
    return first * a + second * b


def even(make: Callable[[Tensor], Tensor], n: int, closed: bool = False) -> Tensor:
    """n pictures at shares of a way, paced so that neighbours differ about alike.

    Args:
        make: Shares in [0, 1], (n,) -> pictures, (n, ...).
        n: How many: from 0 to 1; of a closed way, whose ends are one, the last comes just before 1.
        closed: Whether what follows the last is the first.
    """
    share = torch.linspace(0, 1, n + closed, dtype=torch.float64)
    made = make(share[:n])
    for _ in range(ROUNDS if n > 2 else 0):
        share = paced(share, moved(made, closed))
        made = make(share[:n])
    return made


def moved(frames: Tensor, closed: bool = False) -> Tensor:
    """How far each picture is from the one before it, (n - 1,); of a closed way also the first from the last, (n,)."""
    followed = torch.cat([frames, frames[:1]]) if closed else frames
    return followed.diff(dim=0).flatten(1).norm(dim=1).double()


def unevenness(frames: Tensor, closed: bool = False) -> float:
    """The largest step between neighbours over the mean one."""
    steps = moved(frames, closed)
    return float(steps.max() / steps.mean().clamp(min=1e-12))


def paced(share: Tensor, moved: Tensor) -> Tensor:
    """Shares between which equal ways lie, as far as ways found between some shares tell."""
    way = torch.cat([moved.new_zeros(1), moved.clamp(min=1e-9).cumsum(0)])
    wanted = torch.linspace(0, 1, len(share), dtype=torch.float64) * way[-1]
    right = torch.searchsorted(way, wanted).clamp(1, len(way) - 1)
    part = (wanted - way[right - 1]) / (way[right] - way[right - 1])
    found = torch.lerp(share[right - 1], share[right], part)
    found[0], found[-1] = 0, 1
    return found
