"""Films that a model makes by itself: travels through seeds and conditions, a zoom without end, pictures coming out of noise."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unnoise.domain.pictures import Pictures
from unnoise.model import Model
from unnoise.task.animate.denoising import denoising
from unnoise.task.animate.film import Film, write
from unnoise.task.animate.tour import Tour
from unnoise.task.animate.way import unevenness
from unnoise.task.animate.zoom import zoom
from unnoise.task.edit.sheet import sheet
from unnoise.task.sample import Order, describe, prepared

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Animated", "Animation", "Film", "animate"]

SHOWN = 6  # frames on the sheet
HOLD = 1000  # milliseconds more that the last frame of a walk is shown
SIDE_BY_SIDE = 8  # pixels between x_t and x0


@dataclasses.dataclass(frozen=True)
class Animation:
    """What is asked for: a travel through the order's seeds and `through`; or a zoom, or a walk.

    Args:
        frames: Of the film; a walk has one for each of its steps.
        through: Values that a condition takes in turn, by its name; those of all names in step.
        zoom: The factor from frame to frame, above 1.
        strength: Of the zoom: how much of each frame is painted anew.
        walk: The denoising itself, of all the order's seeds: x_t on the left, the x0 that each step believes in on the right.
        loop: A travel ends where it begins.
        film: The kind of file.
    """

    frames: int = 32
    through: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    zoom: float | None = None
    strength: float = 0.35
    walk: bool = False
    loop: bool = False
    film: Film = dataclasses.field(default_factory=Film)

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ValueError(f"--frames {self.frames}: expected at least 2")
        if sum((self.zoom is not None, self.walk, bool(self.through))) > 1:
            raise ValueError("--zoom, --walk and --through are three films: expected one of them")
        if self.loop and (self.zoom is not None or self.walk):
            raise ValueError("--loop: a zoom and a walk do not come back; only travels do")
        if len({len(values) for values in self.through.values()}) > 1 or any(len(v) < 2 for v in self.through.values()):
            raise ValueError("--through NAME=A,B,...: expected at least two values, and as many of each name")


@dataclasses.dataclass(frozen=True)
class Animated:
    """The film, and of a travel the largest step between frames over the mean one (of a loop with that from last to first)."""

    path: Path
    frames: int
    unevenness: float | None = None


def animate(run: Path, wish: Animation, order: Order, out: Path) -> Animated:
    """Writes the film and `sheet.png` into `out`.

    Raises:
        ValueError: For what the model cannot do, or too few seeds to travel between.
    """
    model, threads = prepared(run, order)
    seeds = list(order.seeds)
    told = {"through": dict(wish.through), "zoom": wish.zoom, "loop": wish.loop, "frames": wish.frames, "cond": order.cond}
    about = json.dumps(describe(model, seeds[0], {}, threads) | {"seeds": seeds, "animation": told | {"walk": wish.walk}})
    if wish.walk:
        return _walk(model, seeds, wish, order, out, about)
    if not isinstance(model.domain, Pictures):
        raise ValueError(f"{run} is a model of {type(model.domain).__name__}: of those --walk alone can be shown")
    if wish.zoom is not None:
        frames, name = zoom(model, seeds[0], order.cond or {}, wish.frames, wish.zoom, wish.strength), f"zoom-{seeds[0]}"
    else:
        frames, name = Tour(model, seeds, _stops(wish, order, seeds), wish.loop).frames(wish.frames), _name(seeds, wish)
    path = write(model.domain.to_pil(frames), out / name, wish.film, about)
    chosen = _some(len(frames))
    sheet([{f"frames {chosen[0] + 1} to {chosen[-1] + 1}": frames[chosen]}]).save(out / "sheet.png")
    return Animated(path, len(frames), unevenness(frames, wish.loop) if wish.zoom is None else None)


def _stops(wish: Animation, order: Order, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The conditions to travel through, one at least.

    Raises:
        ValueError: If neither they nor the seeds are two.
    """
    fixed = dict(order.cond or {})
    if wish.through:
        return [fixed | dict(zip(wish.through, row, strict=True)) for row in zip(*wish.through.values(), strict=True)]
    if len(seeds) < 2:
        raise ValueError(
            "expected two seeds at least (--seeds 1,2) or values of a condition (--through NAME=A,B) to travel between"
        )
    return [fixed]


def _some(n: int) -> list[int]:
    """A few of n places, the first and the last among them."""
    return torch.linspace(0, n - 1, min(SHOWN, n)).round().long().tolist()


def _walk(model: Model, seeds: Sequence[int], wish: Animation, order: Order, out: Path, about: str) -> Animated:
    states, beliefs = denoising(model, seeds, order.cond)
    frames = [_beside(_grid(model, x), _grid(model, x0)) for x, x0 in zip(states, beliefs, strict=True)]
    film = dataclasses.replace(wish.film, hold=HOLD)
    path = write(frames, out / f"walk-{'-'.join(map(str, seeds[:4]))}", film, about)
    chosen = _some(len(frames))
    if isinstance(model.domain, Pictures):
        sheet([{"x_t": states[chosen, i], "x0": beliefs[chosen, i]} for i in range(min(len(seeds), SHOWN))]).save(
            out / "sheet.png"
        )
    else:
        _stacked([frames[k] for k in chosen]).save(out / "sheet.png")
    return Animated(path, len(frames))


def _grid(model: Model, x: Tensor) -> Image:
    return model.domain.grid(x, math.isqrt(len(x)) or 1)


def _beside(left: Image, right: Image) -> Image:
    from PIL import Image

    page = Image.new(left.mode, (left.width + right.width + SIDE_BY_SIDE, left.height), "white")
    page.paste(left, (0, 0))
    page.paste(right, (left.width + SIDE_BY_SIDE, 0))
    return page


def _stacked(rows: Sequence[Image]) -> Image:
    from PIL import Image

    page = Image.new(rows[0].mode, (rows[0].width, sum(row.height + SIDE_BY_SIDE for row in rows)), "white")
    for i, row in enumerate(rows):
        page.paste(row, (0, i * (row.height + SIDE_BY_SIDE)))
    return page


def _name(seeds: Sequence[int], wish: Animation) -> str:
    parts = [f"{name}-{'-'.join(map(str, values))}" for name, values in wish.through.items()]
    return "-".join([f"seeds-{'-'.join(map(str, seeds))}", *parts]).replace("/", "_")
