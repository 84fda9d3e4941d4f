"""From one picture to another through the model's noise, as a movie.

Each picture is walked up to the noise that a deterministic sampler turns into it (`sampler.encode`); frames are made of noises on
the great circle between two such, which keeps their length, and so their law, as a straight line would not.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unnoise.denoiser import Denoise
from unnoise.domain.pictures import Pictures
from unnoise.metric.pixels import psnr
from unnoise.model import Model
from unnoise.sampler import Heun, encode
from unnoise.task.edit.picture import read
from unnoise.task.edit.sheet import sheet
from unnoise.task.sample import KEY, Order, describe, prepared
from unnoise.tensor import expand
from unnoise.times import Auto, Given

if TYPE_CHECKING:
    from PIL.Image import Image

STEPS, ROUNDS = 40, 2  # of a walk, unless told; of evening out the pace
KINDS = {"gif": "GIF", "webp": "WEBP"}


@dataclasses.dataclass(frozen=True)
class Travel:
    """What is asked for.

    Args:
        frames: Of the movie, both ends among them; of a loop the way back as well, without its ends.
        loop: Come back the same way, so that the movie begins where it ends.
        kind: "gif" or "webp".
        delay: Of each frame, in milliseconds; GIF keeps tens of them.
    """

    frames: int = 32
    loop: bool = False
    kind: str = "gif"
    delay: int = 80

    def __post_init__(self) -> None:
        if self.frames < 2 or self.kind not in KINDS or self.delay < 10:
            given = f"--frames {self.frames} --format {self.kind} --delay {self.delay}"
            raise ValueError(f"{given}: expected at least 2 frames of 10 ms, and {' or '.join(KINDS)}")


@dataclasses.dataclass(frozen=True)
class Travelled:
    """The movie, and how good it is: dB of the ends against the pictures, largest step between frames over the mean one."""

    path: Path
    ends: tuple[float, float]
    unevenness: float


def travel(run: Path, files: Sequence[Path], wish: Travel, order: Order, out: Path) -> Travelled:
    """Writes `<a>-<b>.gif` (or .webp) and `sheet.png` into `out`.

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
    moved = frames.diff(dim=0).flatten(1).norm(dim=1)
    path = movie(
        model.domain.to_pil(torch.cat([frames, frames[1:-1].flip(0)]) if wish.loop else frames),
        out / f"{files[0].stem}-{files[1].stem}", wish, {KEY: json.dumps(about)},
    )  # fmt: skip
    shown = frames[torch.linspace(0, len(frames) - 1, 6).round().long()]
    sheet([{"from": x[:1], "frames": shown, "to": x[1:]}]).save(out / "sheet.png")
    return Travelled(path, (psnr(frames[:1], x[:1]), psnr(frames[-1:], x[1:])), float(moved.max() / moved.mean()))


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
def between(model: Model, x: Tensor, n: int, steps: int, cond: Mapping[str, Any]) -> Tensor:
    """n pictures from x[0] to x[1], paced so that neighbours differ about alike."""
    denoiser, times = model.denoiser, Auto()(model.denoiser.schedule, steps)
    walk = Given(times.values, final=True)

    def conditions(rows: int) -> dict[str, Tensor]:
        return {k: v.to(model.device) for k, v in model.conditions(dict(cond), rows, denoiser.conds).items()}

    z = encode(Heun(), denoiser, model.codec.encode(x.to(model.device)), walk, conditions(2))

    def frames(share: Tensor) -> Tensor:
        return torch.cat(
            [_decoded(model, denoiser, slerp(z[0], z[1], part), walk, conditions) for part in share.split(model.defaults.batch)]
        )

    share = torch.linspace(0, 1, n, dtype=torch.float64)
    made = frames(share)
    for _ in range(ROUNDS if n > 2 else 0):
        share = paced(share, made.diff(dim=0).flatten(1).norm(dim=1).double())
        made = frames(share)
    return made


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Points on the great circle from a to b at shares of its angle, (n, *shape): sin((1 - u) w) a / sin w + sin(u w) b / sin w.

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


def paced(share: Tensor, moved: Tensor) -> Tensor:
    """Shares between which equal ways lie, as far as ways found between some shares tell."""
    way = torch.cat([moved.new_zeros(1), moved.clamp(min=1e-9).cumsum(0)])
    wanted = torch.linspace(0, 1, len(share), dtype=torch.float64) * way[-1]
    right = torch.searchsorted(way, wanted).clamp(1, len(way) - 1)
    part = (wanted - way[right - 1]) / (way[right] - way[right - 1])
    found = torch.lerp(share[right - 1], share[right], part)
    found[0], found[-1] = 0, 1
    return found


def movie(pictures: Sequence[Image], path: Path, wish: Travel, about: Mapping[str, str]) -> Path:
    """An animated picture that goes round for ever; WebP without loss. Its comment (GIF) or EXIF says how it was made."""
    path = path.with_name(f"{path.name}.{wish.kind}")
    path.parent.mkdir(parents=True, exist_ok=True)
    more: dict[str, Any] = (
        {"comment": about[KEY].encode()} if wish.kind == "gif" else {"lossless": True, "exif": _exif(about[KEY])}
    )
    first, *rest = [one.convert("P") if wish.kind == "gif" else one.convert("RGB") for one in pictures]
    first.save(path, KINDS[wish.kind], save_all=True, append_images=rest, duration=wish.delay, loop=0, optimize=False, **more)
    return path


def _exif(text: str) -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x010E] = text  # the description of the image
    return exif.tobytes()


def _decoded(model: Model, denoiser: Denoise, z: Tensor, walk: Given, conditions: Callable[[int], dict[str, Tensor]]) -> Tensor:
    return model.codec.decode(Heun()(denoiser, z, walk, conditions(len(z)))).float().cpu().clamp(-1, 1)
