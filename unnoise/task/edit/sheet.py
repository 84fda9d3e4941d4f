"""One sheet of all that was made: a row for each picture, a column for each thing to compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.domain.base import to_levels

if TYPE_CHECKING:
    from PIL.Image import Image

CELL, GAP, HEAD, MOST = 96, 6, 16, 6  # pixels of a cell's longer side at least, between cells, of the headings; samples shown
FAINT = 0.2  # a standard deviation that is shown white, however small all others are


def sheet(rows: Sequence[dict[str, Tensor]]) -> Image:
    """Pictures (1 or n, C, H, W) in [-1, 1] by heading, drawn beside each other; headings stand above the first row."""
    from PIL import Image, ImageDraw

    cells = [[(name, _image(one)) for name, x in row.items() for one in x[:MOST]] for row in rows]
    wide = [max(row[i][1].width for row in cells if i < len(row)) for i in range(max(map(len, cells)))]
    high = [max(image.height for _, image in row) for row in cells]
    size = sum(wide) + GAP * (len(wide) + 1), HEAD + sum(high) + GAP * (len(high) + 1)
    page, top = Image.new("RGB", size, "white"), HEAD + GAP
    draw = ImageDraw.Draw(page)
    for row, (line, height) in enumerate(zip(cells, high, strict=True)):
        left, before = GAP, ""
        for (name, image), width in zip(line, wide, strict=False):
            page.paste(image, (left, top))
            if not row and name != before:
                draw.text((left, 3), name, fill="black")
            left, before = left + width + GAP, name
        top += height + GAP
    return page


def uncertainty(x: Tensor) -> Tensor:
    """The spread of samples at each pixel, (1, 1, H, W), mean over channels: white is the largest (FAINT at least)."""
    spread = x.std(0, correction=0).mean(0, keepdim=True)[None]
    return 2 * spread / spread.max().clamp(min=FAINT) - 1


def _image(x: Tensor) -> Image:
    """One picture, (C, H, W), enlarged by a whole factor where it is small."""
    from PIL import Image

    x = x[:3] if len(x) >= 3 else x[:1].expand(3, -1, -1)
    zoom = max(1, CELL // max(x.shape[-2:]))
    levels = to_levels(F.interpolate(x[None].clamp(-1, 1), scale_factor=zoom)[0], (0, 255), "uint8")
    return Image.fromarray(levels.transpose(1, 2, 0))


def like(x: Tensor, channels: int) -> Tensor:
    """x with that many channels: grey repeated, others cut."""
    return x.expand(-1, channels, -1, -1) if x.shape[1] == 1 else x[:, :channels] if x.shape[1] > channels else x


def mean(x: Tensor) -> Tensor:
    """Of samples, (1, C, H, W)."""
    return torch.mean(x, 0, keepdim=True)
