"""What each task knows of its result: a measurement of it, on a canvas at least as large as the model's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.domain.form import TOP
from unnoise.domain.pictures import Pictures
from unnoise.operator import (
    JPEG,
    Blur,
    Clip,
    Crop,
    Downsample,
    Fourier,
    GaussianBlur,
    Gray,
    Identity,
    Mask,
    Measurement,
    MotionBlur,
    Operator,
    Quantize,
)
from unnoise.task.edit.picture import Picture, mask

RESTORE = (
    "deblur:gaussian:STD, deblur:motion:LENGTH:ANGLE, deblur:KERNEL.png, jpeg:QUALITY, quantize:LEVELS, clip:LOW:HIGH "
    "or fourier:SAMPLED.png"
)


@dataclass(frozen=True, eq=False)
class Job:
    """One picture and what is to become of it.

    Attributes:
        picture: What the results are like in size, mode and name; its pixels are those that are kept.
        shown: The input, (1, C, h, w), as the sheet shows it.
        baseline: The result, (1, C, H, W), without a model.
        canvas: Height and width of what is sampled; the result is its upper left part.
        measured: What is known of the canvas; None where it is only a place to begin (`vary`).
        repaint: (H, W) in [0, 1], what of the picture is new; None for all of it.
    """

    picture: Picture
    shown: Tensor
    baseline: Tensor
    canvas: tuple[int, int]
    measured: Measurement | None = None
    repaint: np.ndarray | None = None


def inpaint(picture: Picture, domain: Pictures, white: Tensor, std: float) -> Job:
    """What is white (above 0) is repainted; all else is measured."""
    canvas = canvas_of(picture.size, domain)
    beyond = [0, canvas[1] - picture.size[1], 0, canvas[0] - picture.size[0]]
    unknown = F.pad((white > 0).float(), beyond, value=1.0)
    y = F.pad(picture.x, beyond) * (1 - unknown)
    hole = picture.x * (1 - white)
    return Job(picture, hole, hole, canvas, Measurement(Mask(unknown), y, std), white.double().numpy())


def outpaint(picture: Picture, domain: Pictures, margins: Sequence[int], std: float) -> Job:
    """Left, top, right and bottom margins are painted; the picture within them is kept."""
    if len(margins) != 4 or min(margins) < 0 or not max(margins):
        raise ValueError(f"--outpaint {','.join(map(str, margins))}: expected four margins LEFT,TOP,RIGHT,BOTTOM, not all 0")
    left, top, right, bottom = margins
    size = picture.size[0] + top + bottom, picture.size[1] + left + right
    white = torch.ones(size)
    white[top : size[0] - bottom, left : size[1] - right] = 0
    wide = np.pad(picture.pixels, ((0, 0), (top, bottom), (left, right)))
    x = F.pad(picture.x, (left, right, top, bottom))
    return inpaint(Picture(picture.name, wide, picture.mode, x), domain, white, std)


def upscale(picture: Picture, domain: Pictures, factor: int, std: float) -> Job:
    """A picture `factor` times as large, of which this one is the small version."""
    if factor < 2:
        raise ValueError(f"--upscale {factor}: expected a whole number from 2 on")
    size = factor * picture.size[0], factor * picture.size[1]
    large = np.zeros((len(picture.pixels), *size), picture.pixels.dtype)
    baseline = F.interpolate(picture.x, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
    job = within(replace(picture, pixels=large), domain, Downsample(factor), picture.x, std)
    return replace(job, baseline=baseline)


def colorize(picture: Picture, domain: Pictures, std: float) -> Job:
    """Colours for the brightness of a picture."""
    if domain.shape[0] != 3:
        raise ValueError(f"--colorize: the model's pictures have {domain.shape[0]} channels; expected 3")
    y = Gray()(picture.x)
    coloured = replace(picture, mode="rgb", pixels=np.zeros((3, *picture.size), picture.pixels.dtype), x=y.expand(-1, 3, -1, -1))
    return replace(within(coloured, domain, Gray(), y, std), shown=coloured.x, baseline=coloured.x)


def restore(picture: Picture, domain: Pictures, operator: Operator, std: float) -> Job:
    """The picture of which this one is a damaged version; noisy alone, where the operator is the identity.

    Of frequencies it is what those make that were measured, all others 0.
    """
    if not isinstance(operator, Fourier):
        return within(picture, domain, operator, picture.x, std)
    if operator.sampled.shape != picture.x.shape[-2:]:
        (high, wide), (height, width) = operator.sampled.shape, picture.x.shape[-2:]
        raise ValueError(f"{picture.name} is {width} x {height} and has as many frequencies; their mask is {wide} x {high}")
    return replace(within(picture, domain, operator, operator(picture.x), std), shown=picture.x)


def vary(picture: Picture, domain: Pictures) -> Job:
    """Another like it."""
    return Job(picture, picture.x, picture.x, canvas_of(picture.size, domain))


def within(picture: Picture, domain: Pictures, operator: Operator, y: Tensor, std: float) -> Job:
    """A measurement of the whole result."""
    size, canvas = picture.size, canvas_of(picture.size, domain)
    measured = Measurement(
        operator if canvas == size else operator @ Crop(0, 0, canvas[1] - size[1], canvas[0] - size[0]), y, std
    )
    return Job(picture, y if y.shape[1] == picture.x.shape[1] else picture.x, picture.x, canvas, measured)


def canvas_of(size: tuple[int, int], domain: Pictures) -> tuple[int, int]:
    """The size of a picture, but no side below the model's."""
    return max(size[0], domain.shape[1]), max(size[1], domain.shape[2])


def damage(text: str) -> Operator:
    """What `--restore` undoes.

    Raises:
        ValueError: If the text is none of the damages there are.
    """
    kind, *options = text.split(":")
    try:
        match kind, options:
            case "deblur", ["gaussian", std]:
                return GaussianBlur(float(std))
            case "deblur", ["motion", length, angle]:
                return MotionBlur(float(length), float(angle), "reflect")
            case "deblur", [file] if Path(file).suffix:
                return Blur(_kernel(Path(file)), "reflect")
            case "jpeg", [quality]:
                return JPEG(int(quality))
            case "quantize", [levels]:
                return Quantize(int(levels))
            case "clip", [low, high]:
                return Clip(float(low), float(high))
            case "fourier", [file] if Path(file).suffix:
                return Fourier(torch.fft.ifftshift((_whole(Path(file)) > 0).float()))
            case "denoise", []:
                return Identity()
    except ValueError as error:
        raise ValueError(f"--restore {text}: {error}") from error
    raise ValueError(f"--restore {text}: expected {RESTORE}")


def _kernel(path: Path) -> Tensor:
    """A picture of a kernel: its brightness, brought to sum 1."""
    weights = _whole(path)
    if not weights.sum() > 0:
        raise ValueError(f"{path} is black; expected a picture of the kernel")
    return weights / weights.sum()


def _whole(path: Path) -> Tensor:
    """A picture's brightness in [0, 1], of whatever size it is."""
    from unnoise.domain.decode import header

    with path.open("rb") as file:
        head = header(file)
    return mask(path, (head.height, head.width))


def rounding(picture: Picture) -> float:
    """The standard deviation of the error of whole levels, in units of x."""
    return 2 / TOP[picture.pixels.dtype.name] / 12**0.5
