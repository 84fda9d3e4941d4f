"""How things show themselves in a notebook: a curve, a table, a strip of pictures, each a piece of HTML that needs nothing else.

Lines and text take the colour of the page, so that they can be read in the dark too.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from torch import Tensor

COLOURS = ("#3b82d6", "#d97232", "#3f9e6e", "#b0559b")  # seen on white and on black
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 260, 120, 38, 8, 20, 20  # of a chart, in pixels
SIDE, GAP = 56, 4  # of a picture in a strip, and between two


def chart(title: str, t: Sequence[float], lines: Mapping[str, Sequence[float]]) -> str:
    """Lines over t from 0 to 1 as SVG. Values that are not finite leave a gap."""
    known = [value for values in lines.values() for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    high = high if high > low else low + 1

    def at(x: float, y: float) -> str:
        across, down = x * (WIDTH - LEFT - RIGHT), (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{LEFT + across:.1f},{TOP + down:.1f}"

    drawn, names, place = [], [], WIDTH - RIGHT
    for (name, values), colour in reversed(list(zip(lines.items(), COLOURS, strict=False))):
        points = " ".join(at(x, y) for x, y in zip(t, values, strict=True) if math.isfinite(y))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        names.append(f'<text x="{place}" y="12" text-anchor="end" fill="{colour}">{escape(name)}</text>')
        place -= 6 * len(name) + 10
    base = HEIGHT - BOTTOM
    axes = (
        f'<path d="M{LEFT},{TOP}V{base}H{WIDTH - RIGHT}" fill="none" stroke="currentColor" opacity="0.4"/>'
        f'<g fill="currentColor"><text x="{LEFT}" y="12">{escape(title)}</text>'
        f'<text x="{LEFT - 4}" y="{TOP + 8}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{LEFT - 4}" y="{base}" text-anchor="end">{low if abs(low) > (high - low) / 1000 else 0:.3g}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 5}">t = 0</text><text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end">1</text></g>'
    )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="10" '
        f'role="img" aria-label="{escape(title)}">{axes}{"".join(drawn)}{"".join(names)}</svg>'
    )


def table(head: str, rows: Mapping[str, Any]) -> str:
    """A head and a row for each fact."""
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<div><strong>{escape(head)}</strong><table>{cells}</table></div>"


def strip(rows: Sequence[Tensor], label: str) -> str:
    """Rows of pictures, each (n, C, H, W) in [-1, 1], as one PNG; small ones enlarged by a whole factor."""
    import numpy as np
    from PIL import Image

    height, width = rows[0].shape[-2:]
    zoom = max(1, SIDE // max(height, width))
    across, down = zoom * width + GAP, zoom * height + GAP
    sheet = Image.new("RGB", (max(len(row) for row in rows) * across - GAP, len(rows) * down - GAP), "#808080")
    for k, row in enumerate(rows):
        colours = row.detach().float().cpu().clamp(-1, 1).nan_to_num(0)
        colours = colours[:, :3] if colours.shape[1] >= 3 else colours[:, :1].expand(-1, 3, -1, -1)
        levels = ((colours + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        for i, one in enumerate(levels):
            picture = Image.fromarray(np.ascontiguousarray(one)).resize((zoom * width, zoom * height), Image.Resampling.NEAREST)
            sheet.paste(picture, (i * across, k * down))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    text = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{escape(label)}" src="data:image/png;base64,{text}">'
