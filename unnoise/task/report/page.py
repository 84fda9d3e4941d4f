"""The report as a page: numbers and figures into the template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unnoise.metric import Estimate
from unnoise.model import Model
from unnoise.task.evaluate import Comparison, Evaluation
from unnoise.task.evaluate.real import Real, neighbours
from unnoise.task.pages import charts
from unnoise.task.pages.draw import tile
from unnoise.task.pages.html import duration, render
from unnoise.task.pages.numbers import corners, lines, protocol, table
from unnoise.task.report.figures import distances, losses
from unnoise.task.report.history import History
from unnoise.task.report.walks import CLOUD, SHOWN, Walks, unit
from unnoise.task.sweep import Point
from unnoise.task.sweep.lengths import Lengths
from unnoise.tensor import Rng

FORWARD = 8  # moments of the forward process
LISTED = 20  # classes in a table
PAIRS = 8  # samples beside their nearest training items


@dataclass(frozen=True)
class Seen:
    """What a report shows.

    Args:
        found: The evaluation.
        walks: Samples, and one walk.
        points: Settings of its sampling, measured.
        bits: Of each held-out item, a number of it.
        lengths: Averages of its weights, measured.
    """

    found: Evaluation
    walks: Walks
    points: Sequence[Point] = ()
    bits: Sequence[float] = ()
    lengths: Lengths | None = None


def page(model: Model, numbers: dict[str, Any], real: Real, history: History, seen: Seen) -> str:
    """The whole page; `numbers` are those of report.json."""
    from markupsafe import Markup

    shape = tuple(model.domain.shape)
    pictures, points = len(shape) == 3 and hasattr(model.domain, "to_pil"), shape == (2,)
    look, found, walks = pictures or points, seen.found, seen.walks
    labelled = real.label in model.denoiser.conds
    curves = [(k, label, some) for k, (label, some) in enumerate(lines(seen.points))]
    return render(
        __package__,
        "page.html",
        name=found.name,
        n=numbers,
        real=real,
        pictures=pictures,
        noun="pictures" if pictures else "points" if points else "items",
        about=[" × ".join(map(str, shape))] * (not points) + [f"{len(real.classes)} classes"] * bool(real.classes),
        network=" ".join(model.recipe.members("network")),
        labelled=pictures and labelled,
        samples=[(row, Markup(tiles)) for row, tiles in _samples(model, real, walks, labelled)] if pictures else [],
        reals=[Markup(one) for one in _reals(model, real)] if pictures else [],
        clouds=[Markup(tile(model.domain, x[:CLOUD], "points")) for x in (real.train["x"], walks.shown)] if points else [],
        film=[{"t": f.t, "x": _column(model, f.x), "x0": _column(model, f.x0)} for f in walks.film] if look else [],
        forward=_forward(model, real) if look else [],
        losses=Markup(losses(history)) if history.bands or history.series("loss")[0] else "",
        banded=len(history.bands),
        **_classes(found),
        verdict=found.verdict,
        table=table(Comparison([found], {})),
        corners=Markup(corners(Comparison([found], {}))),
        curves=Markup(charts.against_evaluations(curves, _real(found, "frechet"))) if curves else "",
        lines=[label for _, label, _ in curves],
        bits=sum(seen.bits) / len(seen.bits) if seen.bits else None,
        likelihood=Markup(charts.histogram([(0, seen.bits)])) if seen.bits else "",
        items=len(seen.bits),
        lengths=seen.lengths,
        averages=Markup(_averages(seen.lengths)) if seen.lengths else "",
        protocol=protocol(found),
        distances=Markup(distances(*found.distances)) if found.distances else "",
        pairs=_pairs(model, found.pairs) if pictures else [],
        beside=_pairs(model, neighbours(found.shown[:PAIRS], real)) if pictures and found.shown is not None else [],
        costs=_costs(numbers),
        recipe=[(section, _members(members)) for section, members in numbers["recipe"].items()],
    )  # fmt: skip


def _samples(model: Model, real: Real, walks: Walks, labelled: bool) -> list[tuple[str, str]]:
    rows = walks.shown.split(SHOWN)
    names = real.classes[: len(rows)] if labelled else [""] * len(rows)
    return [
        (name, "".join(tile(model.domain, x, f"sample {name}") for x in some)) for name, some in zip(names, rows, strict=True)
    ]


def _pairs(model: Model, pairs: Sequence[tuple[Tensor, Tensor, float]]) -> list[tuple[Any, Any, float]]:
    """Samples beside training items, drawn."""
    from markupsafe import Markup

    return [(Markup(tile(model.domain, a, "sample")), Markup(tile(model.domain, b, "its nearest training item")), d)
            for a, b, d in pairs]  # fmt: skip


def _averages(found: Lengths) -> str:
    points = {length: numbers["frechet"] for length, numbers in found.points.items()}
    return charts.against_lengths(points, found.present["frechet"], found.real.get("frechet"), found.chosen)


def _real(found: Evaluation, name: str) -> Estimate | None:
    number = found.numbers.get(name)
    return number.real if number else None


def _reals(model: Model, real: Real) -> list[str]:
    """Twenty training items: with classes two rows that hold one of each, else any."""
    x = real.train["x"][:20]
    if real.label and real.classes:
        pictures, labels = real.labelled(real.train)
        each = [pictures[labels == i][:2] for i in range(min(len(real.classes), 10))]
        x = torch.cat([torch.cat([some[row : row + 1] for some in each]) for row in range(2)])
    return [tile(model.domain, one, "real") for one in x]


def _column(model: Model, x: torch.Tensor) -> list[Any]:
    """What one frame of the film shows, from above: a picture for each sample, or all points in one."""
    from markupsafe import Markup

    return [Markup(tile(model.domain, one, "")) for one in (x if x.ndim > 2 else [x])]


def _forward(model: Model, real: Real) -> list[dict[str, Any]]:
    """One item (or all points) on its way to noise, the same noise throughout."""
    from markupsafe import Markup

    x = real.train["x"][:1] if len(model.domain.shape) == 3 else real.train["x"][:CLOUD]
    z = model.codec.encode(x.to(model.device))
    noise = Rng(0, torch.arange(len(z)), device=z.device).normal(z.shape[1:], "report forward")
    found = []
    for t in torch.linspace(model.denoiser.schedule.t_min, 1, FORWARD, dtype=torch.float64):
        alpha, sigma = (float(c) for c in model.denoiser.schedule(t))
        shown = model.codec.decode(unit(model, alpha * z + sigma * noise, float(t))).cpu()
        picture = Markup(tile(model.domain, shown[0] if shown.ndim > 2 else shown, f"t = {float(t):.2f}"))
        numbers = {"alpha": _short(alpha), "sigma": _short(sigma), "log_snr": _log_snr(alpha, sigma)}
        found.append({"tile": picture, "t": float(t), **numbers})
    return found


def _log_snr(alpha: float, sigma: float) -> str:
    if alpha == 0 or sigma == 0:
        return "−∞" if alpha == 0 else "∞"
    ratio = 2 * math.log(alpha / sigma)
    return f"{ratio:+.{0 if abs(ratio) >= 10 else 1}f}".replace("-", "−")


def _short(x: float) -> str:
    return f"{x:.3f}" if x < 10 else f"{x:.1f}" if x < 100 else f"{x:.0f}"


def _classes(found: Evaluation) -> dict[str, Any]:
    """The rows of the table by class, those recognised least where there are many, and the confusions where there are few."""
    if "accuracy" not in found.numbers or found.confusion is None:
        return {}
    few, rows = len(found.classes) <= LISTED, found.classes
    if not few:
        rows = sorted(rows, key=lambda row: 2.0 if row["accuracy"] is None else row["accuracy"])[:LISTED]
    shares = found.confusion.double() / found.confusion.sum(1).clamp(min=1)[:, None]
    names = [row["name"] for row in found.classes]
    return {
        "accuracy": found.numbers["accuracy"],
        "asked": int(found.confusion.sum()),
        "classes": rows,
        "hidden": len(found.classes) - len(rows),
        "confusion": list(zip(names, shares.tolist(), strict=True)) if few else [],
    }


def _rollbacks(made: Sequence[dict[str, Any]]) -> str:
    return "; ".join(f"step {one['from']:,} to {one['step']:,}, lr × {one['rate']:g}: {one['because']}" for one in made)


def _costs(n: dict[str, Any]) -> list[tuple[str, str]]:
    there, here = n["trained_on"], n["hardware"]
    machine = f"{here['device']}, {here['threads']} of {here['cores']} threads, {here['cpu']}"
    rows = [
        ("training", n["train_seconds"] and f"{duration(n['train_seconds'])} for {n['train_steps']:,} steps"),
        ("training, CPU time", n["cpu_seconds"] and duration(n["cpu_seconds"])),
        ("training speed", n["images_per_second"] and f"{n['images_per_second']:,.4g} items a second"),
        ("went back after NaN", n["rollbacks"] and _rollbacks(n["rollbacks"])),
        ("trained on", there and ", ".join(f"{key} {value}" for key, value in there.items())),
        ("one sample", f"{duration(n['seconds'])}, {n['nfe']} evaluations of the network"),
        ("sampled on", machine),
        ("this report", duration(n["report_seconds"])),
    ]
    return [(what, value) for what, value in rows if value]


def _members(members: dict[str, dict[str, Any]]) -> str:
    keyed = {name: ", ".join(f"{key} = {value}" for key, value in keys.items()) for name, keys in members.items()}
    return "; ".join(f"{name}({keys})" if keys else name for name, keys in keyed.items())
