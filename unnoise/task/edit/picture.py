"""Pictures that are edited: read as they are, seen as a model sees them, written in the mode that they came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unnoise.domain.base import from_levels, to_levels
from unnoise.domain.decode import header, picture
from unnoise.domain.form import TOP, Form
from unnoise.domain.pictures import Pictures
from unnoise.domain.save import write

MODES = {(1, False): "grey", (3, False): "rgb", (3, True): "rgba"}


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture at its own size.

    Attributes:
        name: Of its file, without suffix.
        pixels: (C, H, W) of uint8 or uint16; grey, RGB, or RGBA where it has alpha (grey with alpha becomes RGBA).
        mode: "grey", "rgb" or "rgba".
        x: As the model sees it, (1, channels, H, W).
    """

    name: str
    pixels: np.ndarray
    mode: str
    x: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[-2], self.pixels.shape[-1]


def read(path: Path, domain: Pictures) -> Picture:
    """A file as it is, and as the domain's model sees it.

    Raises:
        ValueError: If it is no picture, holds floats, or has channels that the model cannot take.
    """
    facts = domain.facts()
    try:
        with path.open("rb") as file:
            head = header(file)
            if head.depth not in ("uint8", "uint16") or head.channels not in (1, 3):
                raise ValueError(f"{head.channels} channels of {head.depth}: expected grey or RGB of 8 or 16 bits")
            alpha, channels = head.alpha, 3 if head.alpha else head.channels
            file.seek(0)
            own = picture(file, Form(head.height, head.width, channels + alpha, head.depth, alpha))
            file.seek(0)
            keeps_alpha = facts["channels"] == "rgba"
            form = Form(head.height, head.width, domain.shape[0], facts["depth"], keeps_alpha, **facts["transform"])
            seen = picture(file, form)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return Picture(path.stem, own, MODES[channels, alpha], from_levels(seen[None], domain.span))


def mask(path: Path, size: tuple[int, int]) -> Tensor:
    """A mask of that size, (H, W) in [0, 1]: white (1) is repainted, black (0) kept.

    Raises:
        ValueError: If it is no picture, or of another size.
    """
    try:
        with path.open("rb") as file:
            head = header(file)
            if (head.height, head.width) != size:
                raise ValueError(
                    f"the mask is {head.width} x {head.height} pixels and the picture {size[1]} x {size[0]}: expected the same"
                )
            file.seek(0)
            levels = picture(file, Form(*size, 1, "uint16", background="black"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return torch.from_numpy(levels[0].astype(np.float32)) / TOP["uint16"]


def pixels(x: Tensor, like: Picture) -> np.ndarray:
    """Samples x, (B, channels, H, W) in [-1, 1], at the depth and in the mode of a picture, (B, C, H, W), opaque."""
    depth = like.pixels.dtype.name
    levels = to_levels(x, (0, TOP[depth]), depth)
    if like.mode == "grey":
        return levels if levels.shape[1] == 1 else _grey(x, depth)
    levels = levels[:, :3] if levels.shape[1] >= 3 else levels[:, :1].repeat(3, 1)
    return levels if like.mode == "rgb" else np.concatenate([levels, np.full_like(levels[:, :1], TOP[depth])], 1)


def blended(made: np.ndarray, kept: np.ndarray, repaint: np.ndarray) -> np.ndarray:
    """Made pixels where `repaint`, (H, W), is 1, kept ones to the byte where it is 0, mixed between; at the depth of `kept`."""
    mixed = kept + repaint * (made.astype(np.float64) - kept)
    return np.where(repaint == 0, kept, np.rint(mixed)).astype(kept.dtype)


def save(levels: np.ndarray, mode: str, path: Path, text: Mapping[str, str]) -> Path:
    """One picture, (C, H, W), as `path` + .png."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, levels, mode, text)


def _grey(x: Tensor, depth: str) -> np.ndarray:
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype)[:, None, None]
    return to_levels((x[:, :3] * luma).sum(1, keepdim=True), (0, TOP[depth]), depth)
