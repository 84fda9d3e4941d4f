"""Figures as HTML that needs nothing from outside: inline SVG, PNG within the text.

Charts are drawn twice, for wide and for narrow pages, and their colours are the page's own variables, so that they follow it
into the dark.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from unnoise.domain import Domain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, ACCENT, RULE = "#010101", "#020202", "#030303", "#040404"  # stand for the page's variables
SERIES = tuple(f"#0{k}0a0b" for k in range(6))  # of what is set side by side
VARIABLES = {INK: "--ink", MUTED: "--muted", ACCENT: "--accent", RULE: "--rule"}
VARIABLES |= {colour: f"--s{k}" for k, colour in enumerate(SERIES)}
LARGEST = 160  # side of a picture in the page
SMOOTHED = 16  # smaller ones are drawn smoothed
STYLE: Any = {
    "svg.fonttype": "none", "font.size": 9, "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": RULE,
    "axes.titlesize": 9, "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "xtick.color": RULE, "ytick.color": RULE, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED, "axes.grid": False,
    "lines.linewidth": 1.6, "lines.solid_capstyle": "round", "figure.constrained_layout.use": True,
}  # fmt: skip


def tile(domain: Domain, x: Tensor, alt: str) -> str:
    """One picture x (C, H, W), or a cloud of points x (N, 2); nothing for data that cannot be looked at."""
    if x.ndim == 2 and x.shape[1] == 2:
        return _cloud(x, alt)
    to_pil = getattr(domain, "to_pil", None)
    if to_pil is None:
        return ""
    image, file = to_pil(x[None])[0], io.BytesIO()
    image.thumbnail((LARGEST, LARGEST))
    pixels = max(image.size) < 96 or image.mode not in ("L", "RGB")  # every value as it is
    image.save(file, "PNG" if pixels else "JPEG", optimize=True, quality=90)
    text = base64.b64encode(file.getvalue()).decode()
    # A few pixels are a pattern of squares to the eye until the browser smooths them.
    attribute = ' class="pixels"' if pixels and max(image.size) >= SMOOTHED else ""
    kind = "png" if pixels else "jpeg"
    return f'<img{attribute} alt="{escape(alt)}" src="data:image/{kind};base64,{text}">'


def both(draw: Callable[[Figure, bool], None], name: str, label: str, *sizes: tuple[float, float]) -> str:
    """The same chart for wide and narrow pages."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    charts = []
    for kind, size in zip(("wide", "narrow"), sizes, strict=True):
        with rc_context(STYLE | {"svg.hashsalt": f"{name} {kind}"}):
            figure, file = Figure(figsize=size), io.StringIO()
            draw(figure, kind == "wide")
            figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        charts.append(_inline(file.getvalue(), f'class="chart {kind}" role="img" aria-label="{label}"', f"{name}-{kind}-"))
    return "".join(charts)


def _inline(svg: str, attributes: str, prefix: str) -> str:
    """An SVG file as an element of a page: no header, no addresses, names of its own, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    box = re.search(r'viewBox="[^"]*"', svg)
    svg = re.sub(r"<svg[^>]*>", f"<svg {attributes} {box[0] if box else ''}>", svg, count=1)
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}", svg.replace("xlink:href", "href"))
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return re.sub(r"font: (\S+) [^;\"]*", r"font-size: \1", svg)


def _cloud(x: Tensor, alt: str) -> str:
    dots = "".join(f"M{a:.2f} {-b:.2f}h0" for a, b in x.clamp(-9, 9).tolist())
    return f'<svg class="cloud" role="img" aria-label="{alt}" viewBox="-2.6 -2.6 5.2 5.2"><path d="{dots}"/></svg>'


def log(axes: Axes, values: list[float]) -> None:
    """A logarithmic axis with three plain numbers on it."""
    axes.set_yscale("log")
    low, high = min(values), max(values)
    ticks = np.geomspace(low, high, 3) if high > low else np.array([low])
    axes.set_yticks(ticks, [f"{tick:.2g}" for tick in ticks])
    axes.minorticks_off()
