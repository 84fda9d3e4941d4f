"""From one picture to another through the model's noise, as a film.

Each picture is walked up to the noise that a deterministic sampler turns into it (`sampler.encode`); frames are made of noises on
the great circle between two such.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.domain.pictures import Pictures
from unnoise.metric.pixels import psnr
from unnoise.model import Model
from unnoise.sampler import Heun, Moment, encode
from unnoise.task.animate.film import Film, write
from unnoise.task.animate.way import even, slerp, unevenness
from unnoise.task.edit.picture import read
from unnoise.task.edit.sheet import sheet
from unnoise.task.sample import Order, describe, prepared
from unnoise.times import Auto, Given

STEPS = 40  # of a walk, unless told


@dataclasses.dataclass(frozen=True)
class Travel:
    """What is asked for.

    Args:
        frames: Of the film, both ends among them; of a loop the way back as well, without its ends.
        loop: Come back the same way, so that the film begins where it ends.
        film: The kind of file.
    """

    frames: int = 32
    loop: bool = False
    film: Film = dataclasses.field(default_factory=Film)

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ValueError(f"--frames {self.frames}: expected at least 2 frames")


@dataclasses.dataclass(frozen=True)
class Travelled:
    """The film, and how good it is: dB of the ends against the pictures, largest step between frames over the mean one."""

    path: Path
    ends: tuple[float, float]
    unevenness: float


def travel(run: Path, files: Sequence[Path], wish: Travel, order: Order, out: Path) -> Travelled:
    """Writes `<a>-<b>.gif` (or what the film is) and `sheet.png` into `out`.

    Raises:
        ValueError: Unless there are two pictures of the model's size and the model is one of pictures.
    """
    model, threads = prepared(run, order)
    if not isinstance(model.domain, Pictures):
        raise ValueError(f"{run} is a model of {type(model.domain).__name__}; editing takes a model of pictures")
    if len(files) != 2:
        raise ValueError(f"--interpolate: expected two pictures, given {len(files)}")
    x = torch.cat([_fitting(file, model.domain) for file in files])
    steps = STEPS if not any(o.startswith("model.Defaults.steps") for o in order.overrides) else model.defaults.steps
    frames = between(model, x, wish.frames, steps, order.cond or {})
    about = describe(model, 0, {}, threads) | {"edit": {"task": "interpolate", "frames": wish.frames, "loop": wish.loop}}
    shown = model.domain.to_pil(torch.cat([frames, frames[1:-1].flip(0)]) if wish.loop else frames)
    path = write(shown, out / f"{files[0].stem}-{files[1].stem}", wish.film, json.dumps(about))
    some = frames[torch.linspace(0, len(frames) - 1, 6).round().long()]
    sheet([{"from": x[:1], "frames": some, "to": x[1:]}]).save(out / "sheet.png")
    return Travelled(path, (psnr(frames[:1], x[:1]), psnr(frames[-1:], x[1:])), unevenness(frames))


def _fitting(file: Path, domain: Pictures) -> Tensor:
    """A picture as the model sees it, (1, C, H, W).

    Raises:
        ValueError: If it is of another size than the model's.
    """
    x = read(file, domain).x
    if x.shape[1:] != domain.shape:
        given, expected = (f"{shape[-1]} x {shape[-2]}" for shape in (x.shape, domain.shape))
        raise ValueError(f"{file} is {given} pixels; --interpolate expects {expected}, the size of the model's pictures")
    return x


@torch.no_grad()
def between(
    model: Model,
    x: Tensor,
    n: int,
    steps: int,
    cond: Mapping[str, Any],
    callback: Callable[[Moment], object] | None = None,
) -> Tensor:
    """n pictures from x[0] to x[1], paced so that neighbours differ about alike; a callback is given each moment of a walk."""
    denoiser, times = model.denoiser, Auto()(model.denoiser.schedule, steps)
    walk = Given(times.values, final=True)

    def conditions(rows: int) -> dict[str, Tensor]:
        return {k: v.to(model.device) for k, v in model.conditions(dict(cond), rows, denoiser.conds).items()}

    z = encode(Heun(), denoiser, model.codec.encode(x.to(model.device)), walk, conditions(2))

    def end(start: Tensor) -> Tensor:
        for moment in Heun().walk(denoiser, start, walk, conditions(len(start))):
            if callback:
                callback(moment)
        return moment.x

    def at(share: Tensor) -> Tensor:
        parts = [slerp(z[0], z[1], some) for some in share.split(model.defaults.batch)]
        made = [model.codec.decode(end(part)) for part in parts]
        return torch.cat(made).float().cpu().clamp(-1, 1)

    return even(at, n)
