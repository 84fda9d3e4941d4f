"""A comparison as a page, and as what JSON can hold; the page of a sweep, which has a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import unnoise
from unnoise.task.evaluate import Comparison, Evaluation
from unnoise.task.evaluate.table import short
from unnoise.task.pages import charts
from unnoise.task.pages.draw import tile
from unnoise.task.pages.html import duration, render
from unnoise.task.pages.numbers import CALLED, cell, corners, lines, protocol, table
from unnoise.task.sweep import Front
from unnoise.task.trilemma.words import findings, headline, trade

if TYPE_CHECKING:
    from unnoise.task.trilemma import Asked, Side

SHOWN = 20  # samples of each
LISTED = 20  # classes in a table
HEAD = '<span class="tag" style="--c:var(--s{k})">{letter}</span><span class="long">{name}</span>'  # of a column


def page(comparison: Comparison, sides: Sequence[Side], asked: Asked) -> tuple[str, dict[str, Any]]:
    """The page, and the same as JSON."""
    from markupsafe import Markup

    found, names = findings(comparison), [one.name for one in comparison.evaluations]
    runs = [
        {"letter": charts.LETTERS[k % 26], "name": side.evaluation.name, "k": k % 6, **_run(side)} for k, side in enumerate(sides)
    ]
    curves = [(k, label, points) for k, side in enumerate(sides) for label, points in lines(side.points)]
    bits = [(k, side.bits) for k, side in enumerate(sides) if side.bits]
    values: dict[str, Any] = {
        "title": headline(found, names),
        "trade": trade(found, comparison),
        "findings": [{"name": one.corner.name, "big": one.big, "unit": one.corner.unit, "told": one.told,
                      "who": " = ".join(charts.LETTERS[i % 26] for i in one.leaders)} for one in found],
        "runs": runs,
        "corners": Markup(corners(comparison)),
        "table": table(comparison),
        "heads": [Markup(HEAD).format(k=run["k"], letter=run["letter"], name=run["name"]) for run in runs],
        "curves": Markup(charts.against_evaluations(curves, None, lettered=True)) if curves else "",
        "swept": asked.swept,
        "classes": _classes(comparison.evaluations),
        "likelihood": Markup(charts.histogram(bits)) if bits else "",
        "bits": [{"k": k % 6, "letter": charts.LETTERS[k % 26], "mean": sum(b) / len(b), "items": len(b)} for k, b in bits],
        "protocol": protocol(comparison.evaluations[0]),
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

    curves = [(k, label, points) for k, (label, points) in enumerate(lines(found.points))]
    rows = [
        {"label": point.label, "nfe": point.nfe, "seconds": duration(point.seconds), "front": point in found.front,
         "chosen": point == found.chosen, "changes": point.setting.changes,
         "numbers": [cell(point.numbers[key]) for key in found.chosen.numbers]}
        for point in sorted(found.points, key=lambda point: (point.nfe, point.frechet.value))
    ]  # fmt: skip
    return render(
        __package__,
        "sweep.html",
        name=name,
        chart=Markup(charts.against_evaluations(curves, found.real.get("frechet"), found.chosen)),
        lines=[{"k": k % 6, "label": label} for k, label, _ in curves],
        rows=rows,
        columns=[CALLED.get(key, key) for key in found.chosen.numbers],
        real=[short(found.real[key].value) if key in found.real else "" for key in found.chosen.numbers],
        found=found,
        before=cell(found.before.frechet),
        after=cell(found.after.frechet),
        version=unnoise.__version__,
    )


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
