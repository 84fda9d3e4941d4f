"""What all pictures share: x (C, H, W) in [-1, 1], saved at the depth, channels and size that came in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unnoise.domain.base import Domain, from_levels, to_levels
from unnoise.domain.decode import Form, picture
from unnoise.domain.save import COLOURS, png, write

if TYPE_CHECKING:
    from PIL.Image import Image


SEEN = 96  # pixels: what is smaller is enlarged on a sheet


class Pictures(Domain):
    """Pictures. Their facts also hold `depth` (uint8, uint16 or float32), `range` (the stored values that become -1 and 1),
    `channels` ("grey", "rgb", "rgba" or "other") and `transform` (how a file is brought to `shape`).
    """

    @property
    def span(self) -> tuple[float, float]:
        """The stored values that become -1 and 1."""
        low, high = self.facts()["range"]
        return low, high

    def save(
        self, x: Tensor, folder: Path, names: Sequence[str], metadata: Sequence[Mapping[str, str]] | None = None
    ) -> list[Path]:
        """One file for each picture: PNG (8 and 16 bits), with its metadata as text chunks; else .npy with a .json beside it.

        Raises:
            ValueError: For x of another shape or not finite, and for a name that is not a plain file name.
        """
        facts, folder = self.facts(), Path(folder)
        self._check(x)
        if len(names) != len(x) or (metadata is not None and len(metadata) != len(x)):
            raise ValueError(f"{len(x)} pictures, {len(names)} names: expected one name (and metadata) for each")
        for name in names:
            if not name or name in (".", "..") or set(name) & {"/", "\\", "\0"}:
                raise ValueError(f"{name!r} is no file name")
        folder.mkdir(parents=True, exist_ok=True)
        levels = to_levels(x, self.span, facts["depth"])
        texts = metadata or [{}] * len(x)
        return [write(folder / name, one, facts["channels"], text) for name, one, text in zip(names, levels, texts, strict=True)]

    def files(self, x: Tensor, metadata: Sequence[Mapping[str, str]]) -> list[bytes]:
        """The same files as bytes, where they are PNG.

        Raises:
            ValueError: Where they are not, and as for `save`.
        """
        facts = self.facts()
        self._check(x)
        if facts["channels"] not in COLOURS or facts["depth"] not in ("uint8", "uint16"):
            raise ValueError(f"{facts['channels']} of {facts['depth']}: PNG holds 8 and 16 bits of grey, rgb and rgba")
        levels = to_levels(x, self.span, facts["depth"]).transpose(0, 2, 3, 1)
        return [png(one, COLOURS[facts["channels"]], text) for one, text in zip(levels, metadata, strict=True)]

    def load(self, paths: Sequence[Path]) -> Tensor:
        """Files of any kind, brought to the size, channels and depth of this set, (B, C, H, W).

        Raises:
            ValueError: For a file that is no picture, or has channels that this set cannot take.
        """
        facts = self.facts()
        channels, height, width = self.shape
        form = Form(height, width, channels, facts["depth"], facts["channels"] == "rgba", **facts["transform"])
        levels = []
        for path in paths:
            with Path(path).open("rb") as file:
                try:
                    levels.append(picture(file, form))
                except ValueError as error:
                    raise ValueError(f"{path}: {error}") from error
        return from_levels(np.stack(levels), self.span)

    def to_pil(self, x: Tensor) -> list[Image]:
        """Pictures to look at, 8 bits deep; of pictures with other channels than grey, RGB and RGBA the first three, or one."""
        from PIL import Image

        self._check(x)
        if self.facts()["channels"] == "other":
            x = x[:, :3] if x.shape[1] >= 3 else x[:, :1]
        pixels = to_levels(x, (0, 255), "uint8").transpose(0, 2, 3, 1)  # (B, H, W, C)
        return [Image.fromarray(one[..., 0] if one.shape[-1] == 1 else one) for one in pixels]

    def grid(self, x: Tensor, columns: int | None = None) -> Image:
        """One picture of all, in rows of `columns` or as square as may be; small ones enlarged by a whole factor."""
        from PIL import Image

        pictures = self.to_pil(x)
        columns = columns or math.ceil(math.sqrt(len(pictures)))
        width, height = pictures[0].size
        zoom = max(1, SEEN // max(width, height))
        gap, width, height = max(2, zoom * width // 16), zoom * width, zoom * height
        size = columns * (width + gap) - gap, math.ceil(len(pictures) / columns) * (height + gap) - gap
        sheet = Image.new(pictures[0].mode, size, "white")
        for i, one in enumerate(pictures):
            place = i % columns * (width + gap), i // columns * (height + gap)
            sheet.paste(one.resize((width, height), Image.Resampling.NEAREST), place)
        return sheet

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or tuple(x.shape[1:]) != self.shape or not len(x):
            raise ValueError(f"x of shape {tuple(x.shape)}: expected (B, {', '.join(map(str, self.shape))})")
        if not torch.isfinite(x).all():
            raise ValueError("x holds values that are not finite: there is no picture to save")
