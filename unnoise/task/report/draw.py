"""The figures of a report, as HTML that needs nothing from outside: inline SVG, PNG within the text.

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
import torch
from torch import Tensor

from unnoise.domain import Domain
from unnoise.task.report.history import History
from unnoise.task.report.measure import Neighbours

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


def losses(history: History) -> str:
    """A panel for each noise band: held-out loss, and that of as many items that were trained on."""
    bands = history.bands

    def draw(figure: Figure, wide: bool) -> None:
        columns = (min(len(bands), 5) if wide else 2) if bands else 1
        rows = -(-max(len(bands), 1) // columns)
        panels: np.ndarray = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel in panels.flat[len(bands) :] if bands else ():
            panel.set_visible(False)
        for panel, (band, sets) in zip(panels.flat, bands.items(), strict=False):
            for name, colour, order in (("trained_on", MUTED, 1), ("held_out", ACCENT, 2)):
                if name in sets:
                    panel.plot(*sets[name], color=colour, zorder=order, marker="o" if len(sets[name][0]) < 2 else None)
            panel.set_title(f"t {band.replace('-', '–')}")
        if not bands:
            panels[0, 0].plot(*history.series("loss"), color=ACCENT)
        values = [v for sets in bands.values() for _, series in sets.values() for v in series]
        for panel in panels.flat:
            if min(values, default=1) > 0:
                log(panel, values or history.series("loss")[1])
            _ticks(panel, history.steps)
        figure.supxlabel("step", color=MUTED, fontsize=9)

    height = 2.1 if len(bands) <= 5 and bands else 2.6
    return both(draw, "loss", "Loss over training steps", (7.6, height), (3.7, 1.5 * -(-max(len(bands), 2) // 2)))


def distances(neighbours: Neighbours) -> str:
    """How far samples, and held-out data, are from the training data: two histograms."""
    top = float(torch.cat([neighbours.samples, neighbours.held_out]).quantile(0.995)) * 1.05 or 1.0
    bins = np.linspace(0, top, 41)

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        for values, colour in ((neighbours.held_out, MUTED), (neighbours.samples, ACCENT)):
            share = np.histogram(values.numpy(), bins)[0] / len(values)
            axes.stairs(share, bins, color=colour, linewidth=1.6)
            axes.stairs(share, bins, color=colour, alpha=0.14, fill=True)
        axes.axvline(0.5, color=RULE, linewidth=1, linestyle=(0, (3, 3)))
        axes.text(0.49, axes.get_ylim()[1], "near copies" if wide else "copies", color=MUTED, ha="right", va="top", fontsize=8)
        axes.set_xlim(0, top)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("distance to the nearest training item  (1 = typical for new data)" if wide else "distance (1 = typical)")

    return both(draw, "distances", "Distances to the nearest training item", (7.6, 2.3), (3.7, 2.0))


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


def _ticks(axes: Axes, steps: int) -> None:
    axes.set_xlim(0, max(steps, 1))
    axes.set_xticks([0, steps], ["0", f"{steps / 1000:.3g}k" if steps >= 1000 else str(steps)])
