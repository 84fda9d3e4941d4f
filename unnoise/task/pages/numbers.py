"""The numbers of evaluations as pages show them: in groups, with intervals, beside real data; and how they were measured."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unnoise.task.evaluate import Comparison, Evaluation
from unnoise.task.evaluate.table import MEANS, ends, short
from unnoise.task.pages import charts

if TYPE_CHECKING:
    from unnoise.task.sweep import Point

GROUPS = {
    "Quality": ("frechet", "frechet_infinity", "kid", "precision", "density", "inception_score", "accuracy", "detail", "spectrum",
                "sliced_wasserstein", "mmd"),
    "Coverage": ("recall", "coverage", "diversity", "vendi", "class_distance"),
    "Copies": ("copies", "nearest", "favour"),
    "Speed": ("nfe", "seconds", "joules"),
}  # fmt: skip
CALLED = {
    "frechet": "Fréchet distance",
    "frechet_infinity": "Fréchet distance, n → ∞",
    "kid": "kernel distance",
    "nfe": "evaluations",
}


def corners(comparison: Comparison) -> str:
    """The picture of the three corners; nothing where a run lacks one of the two that it needs."""
    rows = [one.numbers for one in comparison.evaluations]
    if not all({"frechet", "recall"} <= row.keys() for row in rows):
        return ""
    real = [next((row[name].real for row in rows if row[name].real is not None), None) for name in ("frechet", "recall")]
    return charts.corners([(k, row["frechet"], row["recall"], row.get("seconds")) for k, row in enumerate(rows)], *real)


def table(comparison: Comparison) -> list[dict[str, Any]]:
    """Groups of rows: name, meaning, a cell for each run, real data."""
    grouped = {name for names in GROUPS.values() for name in names}
    groups = GROUPS | {"More": tuple(name for name in comparison.names if name not in grouped)}
    return [
        {"name": group, "rows": rows}
        for group, names in groups.items()
        if (rows := [_row(comparison, name) for name in names if name in comparison.names])
    ]


def _row(comparison: Comparison, name: str) -> dict[str, Any]:
    numbers = [one.numbers.get(name) for one in comparison.evaluations]
    best = comparison.best.get(name, [])
    alone = best if len(best) < len(numbers) else []
    cells = [cell(number) | {"best": i in alone} if number else None for i, number in enumerate(numbers)]
    real = next((number.real for number in numbers if number is not None and number.real is not None), None)
    means = MEANS.get(name, "")
    return {
        "name": CALLED.get(name, name.replace("_", " ")),
        "means": means,
        "cells": cells,
        "real": short(real.value) if real else "",
    }


def cell(number: Any) -> dict[str, Any]:
    return {"value": short(number.value), "ends": ends(number).replace(" .. ", " to\u00a0")}


def protocol(one: Evaluation) -> list[tuple[str, str]]:
    """What was compared with what."""
    about = one.about
    space = about.get("features", {})
    here = about.get("machine", {})
    told = [
        ("samples", f"{about['samples']:,} of each, none left out" if "samples" in about else ""),
        ("reference", f"{about['reference']:,} training items" if "reference" in about else ""),
        ("real data", f"{about['real']:,} other items, measured as the samples are" if "real" in about else ""),
        ("features", f"{space.get('name', '')} {space.get('digest', '')[:12]}".strip()),
        ("intervals", f"{about['level']:.0%}, of the samples drawn; the reference is fixed" if "level" in about else ""),
        ("protocol", str(about.get("protocol", ""))),
        ("machine", ", ".join(f"{key} {value}" for key, value in here.items())),
    ]
    return [(what, value) for what, value in told if value]


def lines(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """The points of each sampler, the cheapest first."""
    ordered = sorted(points, key=lambda point: point.label)
    groups = itertools.groupby(ordered, key=lambda point: point.label)
    return [(label, sorted(some, key=lambda point: point.nfe)) for label, some in groups]
