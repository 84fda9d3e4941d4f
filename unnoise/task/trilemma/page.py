"""A comparison as a page, and as what JSON can hold; the page of a sweep, which has a part of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import unnoise
from unnoise.task.evaluate import Comparison, Evaluation
from unnoise.task.evaluate.table import MEANS, ends, short
from unnoise.task.report.draw import tile
from unnoise.task.report.html import duration, render
from unnoise.task.sweep import Front, Point
from unnoise.task.trilemma import charts
from unnoise.task.trilemma.words import findings, headline, trade

if TYPE_CHECKING:
    from unnoise.task.trilemma import Asked, Side

SHOWN = 20  # samples of each
LISTED = 20  # classes in a table
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


def page(comparison: Comparison, sides: Sequence[Side], asked: Asked) -> tuple[str, dict[str, Any]]:
    """The page, and the same as JSON."""
    from markupsafe import Markup

    found, names = findings(comparison), [one.name for one in comparison.evaluations]
    runs = [
        {"letter": charts.LETTERS[k % 26], "name": side.evaluation.name, "k": k % 6, **_run(side)} for k, side in enumerate(sides)
    ]
    curves = [(k, label, points) for k, side in enumerate(sides) for label, points in _lines(side.points)]
    bits = [(k, side.bits) for k, side in enumerate(sides) if side.bits]
    values: dict[str, Any] = {
        "title": headline(found, names),
        "trade": trade(found, comparison),
        "findings": [{"name": one.corner.name, "big": one.big, "unit": one.corner.unit, "told": one.told,
                      "who": " = ".join(charts.LETTERS[i % 26] for i in one.leaders)} for one in found],
        "runs": runs,
        "corners": Markup(_corners(comparison)),
        "table": _table(comparison),
        "curves": Markup(charts.against_evaluations(curves, None)) if curves else "",
        "swept": asked.swept,
        "classes": _classes(comparison.evaluations),
        "likelihood": Markup(charts.histogram(bits)) if bits else "",
        "bits": [{"k": k % 6, "letter": charts.LETTERS[k % 26], "mean": sum(b) / len(b), "items": len(b)} for k, b in bits],
        "protocol": _protocol(comparison.evaluations[0]),
        "version": unnoise.__version__,
    }  # fmt: skip
    told = {
        "verdict": values["title"],
        "findings": [
            {"corner": one.corner.name, "by": one.corner.number, "best": [names[i] for i in one.leaders], "told": one.told}
            for one in found
        ],
        "best": {name: [names[i] for i in best] for name, best in comparison.best.items()},
        "evaluations": {one.name: one.json() for one in comparison.evaluations},
        "sweeps": {side.evaluation.name: [point.json() for point in side.points] for side in sides},
        "bits": {side.evaluation.name: side.bits for side in sides if side.bits},
    }
    return render(__package__, "page.html", **values), told


def sweep_page(name: str, found: Front) -> str:
    """What a sweep found, as a page."""
    from markupsafe import Markup

    lines = [(k, label, points) for k, (label, points) in enumerate(_lines(found.points))]
    rows = [
        {"label": point.label, "nfe": point.nfe, "seconds": duration(point.seconds), "front": point in found.front,
         "chosen": point == found.chosen, "changes": point.setting.changes,
         "numbers": [_cell(point.numbers[key]) for key in found.chosen.numbers]}
        for point in sorted(found.points, key=lambda point: (point.nfe, point.frechet.value))
    ]  # fmt: skip
    return render(
        __package__,
        "sweep.html",
        name=name,
        chart=Markup(charts.against_evaluations(lines, found.real.get("frechet"), found.chosen)),
        lines=[{"k": k % 6, "label": label} for k, label, _ in lines],
        rows=rows,
        columns=[CALLED.get(key, key) for key in found.chosen.numbers],
        real=[short(found.real[key].value) if key in found.real else "" for key in found.chosen.numbers],
        found=found,
        before=_cell(found.before.frechet),
        after=_cell(found.after.frechet),
        version=unnoise.__version__,
    )


def _lines(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """The points of each sampler, the cheapest first."""
    ordered = sorted(points, key=lambda point: point.label)
    groups = itertools.groupby(ordered, key=lambda point: point.label)
    return [(label, sorted(some, key=lambda point: point.nfe)) for label, some in groups]


def _run(side: Side) -> dict[str, Any]:
    """What is to be seen and said of one run."""
    from markupsafe import Markup

    one, draws = side.evaluation, hasattr(side.domain, "to_pil") or (side.domain is not None and tuple(side.domain.shape) == (2,))
    shown = list(one.shown[:SHOWN]) if draws and one.shown is not None else []
    cloud = bool(shown) and shown[0].ndim == 1
    source = one.about.get("source", {})
    facts = [
        ("sampled by", source.get("sampler") and f"{source['sampler']}, {source['steps']} steps"),
        ("guidance", ", ".join(source.get("guidance", []))),
        ("parameters", source.get("parameters") and f"{source['parameters']:,}"),
        ("training", side.training and f"{duration(side.training[0])} of one processor, {side.training[1]:,} steps"),
        ("samples from", source.get("kind") if source.get("kind") != "run" else ""),
        ("", "; ".join(side.missing)),
    ]
    return {
        "samples": [Markup(tile(side.domain, one.shown[:SHOWN * 20], "samples"))] if cloud and one.shown is not None
        else [Markup(tile(side.domain, x, f"sample of {one.name}")) for x in shown],
        "cloud": cloud,
        "pairs": [(Markup(tile(side.domain, a, "sample")), Markup(tile(side.domain, b, "its nearest training item")), d)
                  for a, b, d in side.pairs] if draws and not cloud else [],
        "verdict": one.verdict,
        "facts": [(what, value) for what, value in facts if value],
    }  # fmt: skip


def _corners(comparison: Comparison) -> str:
    """The picture of the three corners; nothing where a run lacks one of the two that it needs."""
    rows = [one.numbers for one in comparison.evaluations]
    if not all({"frechet", "recall"} <= row.keys() for row in rows):
        return ""
    real = [next((row[name].real for row in rows if row[name].real is not None), None) for name in ("frechet", "recall")]
    return charts.corners([(k, row["frechet"], row["recall"], row.get("seconds")) for k, row in enumerate(rows)], *real)


def _table(comparison: Comparison) -> list[dict[str, Any]]:
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
    cells = [_cell(number) | {"best": i in alone} if number else None for i, number in enumerate(numbers)]
    real = next((number.real for number in numbers if number is not None and number.real is not None), None)
    means = MEANS.get(name, "")
    return {
        "name": CALLED.get(name, name.replace("_", " ")),
        "means": means,
        "cells": cells,
        "real": short(real.value) if real else "",
    }


def _cell(number: Any) -> dict[str, Any]:
    return {"value": short(number.value), "ends": ends(number).replace(" .. ", " to ")}


def _classes(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Of each class: how much of each run's samples is recognised as asked, and what real data reach; and its share."""
    known = [one for one in evaluations if one.classes]
    if not known:
        return {}
    first = known[0].classes
    by_name = [{row["name"]: row for row in one.classes} for one in evaluations]
    asked = all(row["accuracy"] is not None for one in known for row in one.classes)
    key = "accuracy" if asked else "share"
    rows = [
        {"name": row["name"], "real": row["real"] if asked else row["expected"],
         "cells": [names[row["name"]][key] if row["name"] in names else None for names in by_name]}
        for row in first[:LISTED]
    ]  # fmt: skip
    return {"rows": rows, "asked": asked, "hidden": len(first) - len(rows)}


def _protocol(one: Evaluation) -> list[tuple[str, str]]:
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
