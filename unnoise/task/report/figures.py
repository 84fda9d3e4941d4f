"""The charts of a report: what was learnt, and how far samples are from the training data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unnoise.task.pages.draw import ACCENT, MUTED, RULE, both, log
from unnoise.task.report.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


def distances(samples: Tensor, held_out: Tensor) -> str:
    """How far samples, and held-out data, are from the training data: two histograms."""
    top = float(torch.cat([samples, held_out]).quantile(0.995)) * 1.05 or 1.0
    bins = np.linspace(0, top, 41)

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        for values, colour in ((held_out, MUTED), (samples, ACCENT)):
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


def _ticks(axes: Axes, steps: int) -> None:
    axes.set_xlim(0, max(steps, 1))
    axes.set_xticks([0, steps], ["0", f"{steps / 1000:.3g}k" if steps >= 1000 else str(steps)])
