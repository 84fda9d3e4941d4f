"""The charts of a comparison: each run has a colour and a letter of its own in all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unnoise.metric import Estimate
from unnoise.task.evaluate.result import Number
from unnoise.task.pages.draw import MUTED, RULE, SERIES, both

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from unnoise.task.sweep import Point

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 3)))  # of the samplers of one run
MARKS = "osD^vP"
UP = "Fréchet distance, up is better"
TICKS = 6  # at most, on a logarithmic axis of few decades
Ends = Number | Estimate


def colour(k: int) -> str:
    """Of the k-th run."""
    return SERIES[k % len(SERIES)]


def corners(runs: Sequence[tuple[int, Ends, Ends, Ends | None]], real: Estimate | None, real_recall: Estimate | None) -> str:
    """Quality against coverage, and quality against speed; best is at the top right of both.

    Args:
        runs: The number of each, its Frechet distance, its recall, and its seconds for a sample.
        real, real_recall: What real data reach.
    """
    timed = [(k, frechet, rate(seconds)) for k, frechet, _, seconds in runs if seconds is not None]

    def draw(figure: Figure, wide: bool) -> None:
        count = 1 + bool(timed)
        panels = figure.subplots(1, count, sharey=True) if wide else figure.subplots(count, 1)
        cover, *quick = np.atleast_1d(panels)
        for k, frechet, recall, _ in runs:
            _cross(cover, k, recall, frechet)
        cover.set_xlabel("recall: share of the data that samples reach  →")
        if real_recall is not None:
            cover.axvline(real_recall.value, color=RULE, linewidth=1, linestyle=(0, (3, 3)), zorder=0)
        for axes in quick:
            for k, frechet, speed in timed:
                _cross(axes, k, speed, frechet)
            _decades(axes.xaxis, [speed for _, _, speed in timed])
            axes.set_xscale("log")
            _decades(axes.xaxis, [speed for _, _, speed in timed])
            axes.set_xlabel("samples a second  →")
        for axes in (cover, *quick):
            axes.set_yscale("log")
            _decades(axes.yaxis, [frechet for _, frechet, _, _ in runs] + ([alone(real)] if real else []))
            axes.invert_yaxis()
            if real is not None:
                axes.axhline(real.value, color=RULE, linewidth=1, linestyle=(0, (3, 3)), zorder=0)
        letters = [(LETTERS[k % 26], k, recall.value, frechet.value) for k, frechet, recall, _ in runs]
        _named(cover, letters, 10, "bold")
        for axes in quick:
            _named(axes, [(LETTERS[k % 26], k, speed.value, frechet.value) for k, frechet, speed in timed], 10, "bold")
        if real is not None:
            place = cover.get_yaxis_transform()
            cover.text(0.01, real.value, "real data", transform=place, color=MUTED, fontsize=8, va="bottom", ha="left")
        cover.set_ylabel(UP)
        if not wide and quick:
            quick[0].set_ylabel(UP)

    return both(draw, "corners", "Quality, coverage and speed of the runs", (7.6, 3.3), (3.7, 5.6 if timed else 2.9))


def against_evaluations(
    curves: Sequence[tuple[int, str, Sequence[Point]]],
    real: Estimate | None,
    chosen: Point | None = None,
    lettered: bool = False,
) -> str:
    """Frechet distance against evaluations, a line for each run and sampler; best is at the top left.

    Args:
        curves: The number of the run, or of the sampler where there is one run, its label, and its points in order of cost.
        real: What real data reach.
        chosen: Of the only run, ringed; its lines have no names then.
        lettered: There are several runs: a line's name begins with the letter of its run.
    """
    styles: dict[int, int] = {}

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        styles.clear()
        names: list[tuple[str, int, float, float]] = []
        for k, label, points in curves:
            style = styles[k] = styles.get(k, -1) + 1
            nfe, values = [point.nfe for point in points], [point.frechet.value for point in points]
            low = [max(point.frechet.value - point.frechet.low, 0) for point in points]
            high = [max(point.frechet.high - point.frechet.value, 0) for point in points]
            dashes, mark = DASHES[style % len(DASHES)], MARKS[style % len(MARKS)]
            bars = axes.errorbar(nfe, values, [low, high], color=colour(k), marker=mark, markersize=4.5, elinewidth=0.8)
            bars.lines[0].set_linestyle(dashes)
            said = " ".join([LETTERS[k % 26], *[label] * (len(points) > 1)]) if lettered else label
            names.append((said, k, nfe[0], values[0]))
        if chosen is not None:
            ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": MUTED}
            axes.plot([chosen.nfe], [chosen.frechet.value], "o", **ring)  # type: ignore[arg-type]
        axes.set_xscale("log")
        axes.set_yscale("log")
        every = [point for _, _, points in curves for point in points]
        ticks = sorted({point.nfe for point in every})
        some = [n for i, n in enumerate(ticks) if not i or n >= (1.35 if wide else 1.8) * max(t for t in ticks[:i])]
        axes.set_xticks(some, [str(n) for n in some])
        axes.minorticks_off()
        _decades(axes.yaxis, [point.frechet for point in every] + ([alone(real)] if real else []))
        axes.invert_yaxis()
        if chosen is None:
            _named(axes, names, 8 if wide else 7)
        if real is not None:
            axes.axhline(real.value, color=RULE, linewidth=1, linestyle=(0, (3, 3)), zorder=0)
            place = axes.get_yaxis_transform()
            axes.text(1, real.value, "real data", transform=place, color=MUTED, fontsize=8, va="bottom", ha="right")
        axes.set_xlabel("←  evaluations of the network for a sample")
        axes.set_ylabel(UP)

    return both(draw, "evaluations", "Quality against evaluations of the network", (7.6, 3.2), (3.7, 3.0))


def against_lengths(points: Mapping[float, Ends], present: Ends, real: Estimate | None, chosen: float) -> str:
    """Frechet distance against the length of the weights' average; dashed what the run was trained to; the ring is the choice."""

    def draw(figure: Figure, wide: bool) -> None:
        axes, found = figure.subplots(), list(points.values())
        air = [[max(one.value - one.low, 0) for one in found], [max(one.high - one.value, 0) for one in found]]
        values = [one.value for one in found]
        axes.errorbar(list(points), values, air, color=colour(0), marker="o", markersize=4.5, elinewidth=0.8)
        ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": MUTED}
        axes.plot([chosen], [points[chosen].value], "o", **ring)  # type: ignore[arg-type]
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(list(points), [f"{length:.3g}" for length in points])
        axes.minorticks_off()
        _decades(axes.yaxis, [*found, present, *([alone(real)] if real else [])])
        for said, level in (("as trained", present.value), *([("real data", real.value)] if real else [])):
            axes.axhline(level, color=RULE, linewidth=1, linestyle=(0, (3, 3)), zorder=0)
            place = axes.get_yaxis_transform()
            axes.text(1, level, said, transform=place, color=MUTED, fontsize=8, va="bottom", ha="right")
        axes.invert_yaxis()
        axes.set_xlabel("length of the average, a share of the training")
        axes.set_ylabel(UP)

    return both(draw, "lengths", "Quality against the length of the average of the weights", (7.6, 3.0), (3.7, 2.8))


def histogram(rows: Sequence[tuple[int, Sequence[float]]]) -> str:
    """How probable held-out data are, in bits a number: a histogram for each run."""
    every = np.concatenate([np.asarray(values) for _, values in rows])
    low, high = np.quantile(every, (0.002, 0.998)).tolist()
    bins = np.linspace(low, high, 41)

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        for k, values in rows:
            share = np.histogram(values, bins)[0] / len(values)
            axes.stairs(share, bins, color=colour(k), linewidth=1.6)
            axes.stairs(share, bins, color=colour(k), alpha=0.14, fill=True)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("bits a number of a held-out item, left is better")

    return both(draw, "likelihood", "Likelihood of held-out items", (7.6, 2.3), (3.7, 2.0))


def rate(seconds: Ends) -> Estimate:
    """Samples a second; an end that is not known is the value."""
    ends = [1 / x if x > 0 else math.nan for x in (seconds.value, seconds.high, seconds.low)]
    return Estimate(*(ends[0] if math.isnan(end) else end for end in ends))


def alone(one: Estimate) -> Estimate:
    """A value without its interval, which is not drawn."""
    return Estimate(one.value, one.value, one.value)


def _cross(axes: Axes, k: int, x: Ends, y: Ends) -> None:
    """A run as a point with both intervals."""
    errors = [[[max(one.value - _known(one.low, one), 0)], [max(_known(one.high, one) - one.value, 0)]] for one in (x, y)]
    axes.errorbar([x.value], [y.value], errors[1], errors[0], color=colour(k), marker="o", markersize=6, elinewidth=1)


def _named(axes: Axes, names: Sequence[tuple[str, int, float, float]], size: float, weight: str = "normal") -> None:
    """Names at the points (said, colour, x, y), from the lowest up, each moved up until it is clear of those below it."""
    scale, placed = 72 / axes.figure.dpi, list[tuple[float, float, float]]()
    spots = [(said, k, x, y, *(scale * axes.transData.transform((x, y)))) for said, k, x, y in names]
    for said, k, x, y, left, base in sorted(spots, key=lambda spot: spot[-1]):
        foot, right = base + 5, left + 0.6 * size * len(said)
        for start, end, below in placed:
            if start < right and left < end and foot < below + 1.15 * size:
                foot = below + 1.15 * size
        placed.append((left, right, foot))
        offset = {"textcoords": "offset points", "color": colour(k), "fontsize": size, "fontweight": weight}
        axes.annotate(said, (x, y), (6, foot - base), **offset)  # type: ignore[arg-type]


def _known(end: float, one: Ends) -> float:
    return one.value if math.isnan(end) else end


def _decades(axis: object, shown: Sequence[Ends]) -> None:
    """Few plain numbers on a logarithmic axis that shows all intervals with some air."""
    values = [v for one in shown for v in (one.value, _known(one.low, one), _known(one.high, one)) if v > 0]
    low, high = min(values) / 1.3, max(values) * 1.3
    grids = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,))
    every = [[m * 10.0**e for e in range(-6, 7) for m in grid if low <= m * 10.0**e <= high] for grid in grids]
    steps = next((some for some in every if len(some) <= TICKS), every[-1])
    axes = axis.axes  # type: ignore[attr-defined]
    is_x = axis is axes.xaxis
    (axes.set_xlim if is_x else axes.set_ylim)(low, high)
    (axes.set_xticks if is_x else axes.set_yticks)(steps, [f"{v:g}" for v in steps])
    axes.minorticks_off()
