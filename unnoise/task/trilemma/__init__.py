"""Runs side by side on one page: quality, coverage and speed, what is seen of them, and which is better in what."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from unnoise.model import FILES, load
from unnoise.task import machine
from unnoise.task.evaluate import Comparison, Evaluation, Wish, compare, evaluate, measure_model
from unnoise.task.evaluate.real import Real, neighbours, real
from unnoise.task.evaluate.sources import opened
from unnoise.task.likelihood import bounds
from unnoise.task.report.history import History
from unnoise.task.sweep import Point, curves, read
from unnoise.times import One

__all__ = ["Asked", "Side", "gathered", "trilemma"]

PAIRS = 6  # samples, picked by their seeds alone, beside their nearest training items


@dataclass(frozen=True)
class Asked:
    """What a comparison is made of, besides the evaluations.

    Args:
        wish: Of the evaluations.
        budgets: Evaluations of the network at which several samplers are compared; none to do without.
        samplers: Their names; "" is a run's own. A run that was swept has its own points, and these are taken.
        swept: Samples of each point.
        likelihoods: Held-out items whose likelihood is measured; 0 for none.
    """

    wish: Wish
    budgets: Sequence[int] = (5, 10, 20)
    samplers: Sequence[str] = ("", "DDIM")
    swept: int = 200
    likelihoods: int = 0


@dataclass
class Side:
    """One of the things compared: its evaluation, and what else is known of it.

    Args:
        evaluation: Its numbers.
        domain: That draws its samples; None for what was read from a file.
        pairs: Samples of the first seeds, the nearest training item, their distance in units of a held-out item's.
        points: Settings of its sampling, measured.
        bits: Of each held-out item, a number of it.
        training: Seconds of the processor, and steps.
        missing: What it has not, and why.
    """

    evaluation: Evaluation
    domain: Any = None
    pairs: list[tuple[Tensor, Tensor, float]] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    bits: list[float] = field(default_factory=list)
    training: tuple[float, int] | None = None
    missing: list[str] = field(default_factory=list)


def trilemma(sources: Sequence[Path], asked: Asked, out: Path, say: Callable[[str], object] = lambda line: None) -> Comparison:
    """Writes the page `out`, and beside it the same as JSON; returns the comparison.

    Args:
        sources: Runs; samples (folders, archives, .npy, .npz); or evaluations (.json), which have numbers but no pictures.
        asked: See `Asked`.
        out: The page, one file that needs nothing else.
        say: Takes the lines meant for a person.

    Raises:
        ValueError: For sources that are none of these, or numbers of unlike protocols.
    """
    from unnoise.task.trilemma.page import page

    sides = gathered(sources, asked, say)
    comparison = compare([side.evaluation for side in sides])
    text, told = page(comparison, sides, asked)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, "utf-8")
    out.with_suffix(".json").write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", "utf-8")
    return comparison


def gathered(sources: Sequence[Path], asked: Asked, say: Callable[[str], object] = lambda line: None) -> list[Side]:
    """All that is known of each source; of two of one name the second is named by its folder too."""
    known: dict[str, Real] = {}
    sides: list[Side] = []
    for path in sources:
        say(f"{path}:")
        if (path / FILES[0]).is_file():
            side = _run(path, asked, known, say)
        elif path.suffix == ".json":
            side = Side(Evaluation.read(path))
        else:
            side = Side(evaluate(path, asked.wish, say), asked.wish.data and opened(asked.wish.data, None))
            if side.domain is not None:
                _seen(side, known)
        sides.append(side)
    return _named(sides, sources)


def _run(path: Path, asked: Asked, known: dict[str, Real], say: Callable[[str], object]) -> Side:
    model = load(path, device=machine.device(asked.wish.device), overrides=asked.wish.overrides)
    model.precision = machine.precision(asked.wish.precision)
    side = Side(measure_model(model, asked.wish, path.resolve().name, say), model.domain)
    _seen(side, known)
    history = History.read(path)
    if seconds := history.total("cpu_seconds"):
        side.training = seconds, history.steps
    if asked.budgets:
        wish = Wish(asked.swept, asked.wish.data, asked.wish.features, device=asked.wish.device, precision=asked.wish.precision)
        side.points = read(path) or curves(model, wish, asked.budgets, asked.samplers, say)
    if asked.likelihoods and isinstance(model.times, One):
        side.missing.append("no likelihood: it answers at t = 1 alone")
    elif asked.likelihoods:
        side.bits = bounds(model, asked.likelihoods)
    return side


def _seen(side: Side, known: dict[str, Real]) -> None:
    """The first samples beside the training items nearest to them."""
    shown = side.evaluation.shown
    if shown is None or not len(shown):
        return
    key = json.dumps(side.evaluation.about["data"], sort_keys=True)
    if key not in known:
        known[key] = real(side.domain)
    side.pairs = neighbours(shown[:PAIRS], known[key])


def _named(sides: list[Side], sources: Sequence[Path]) -> list[Side]:
    names = [side.evaluation.name for side in sides]
    for side, path in zip(sides, sources, strict=True):
        if names.count(side.evaluation.name) > 1:
            object.__setattr__(side.evaluation, "name", "/".join(path.resolve().parts[-2:]))
    return sides
