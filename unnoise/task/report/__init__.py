"""The report of a run: what was learnt, how good it is, whether it copies, what it cost. One page, one table of numbers."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unnoise.model import Model, load
from unnoise.task.evaluate import Evaluation, Wish, measure
from unnoise.task.evaluate.features import recognisable
from unnoise.task.evaluate.real import Real, real
from unnoise.task.evaluate.result import finite
from unnoise.task.evaluate.sources import Made
from unnoise.task.likelihood import bounds
from unnoise.task.report.history import History, facts
from unnoise.task.report.page import Seen, page
from unnoise.task.report.walks import walks
from unnoise.task.sweep import Point, curves, lengths, read
from unnoise.times import One

__all__ = ["More", "report"]

LEAST = 8  # samples and training items: neighbours of neighbours are asked for
SWEPT = 200  # samples of each setting


@dataclass(frozen=True)
class More:
    """What a report may have besides, at a cost.

    Args:
        budgets: Evaluations of the network at which samplers are compared. A run that was swept has its own points.
        samplers: Their names; "" is the run's own.
        likelihoods: Held-out items whose likelihood is measured.
    """

    budgets: Sequence[int] = ()
    samplers: Sequence[str] = ("", "DDIM")
    likelihoods: int = 0


def report(
    run: Path | str,
    model: Model | None = None,
    *,
    samples: int = 1000,
    steps: int | None = None,
    seed: int = 0,
    more: More | None = None,
    precision: str | None = None,
    device: torch.device | str = "cpu",
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Writes `report.html` and `report.json` into a run folder, and returns what the latter holds.

    Its numbers are those of `unnoise evaluate RUN`, in the features of a classifier of the data's own where there are classes.
    Samples have seeds `seed`, `seed + 1`, ... and conditions as the data have them. The same run gives the same report, but for
    the times.

    Args:
        run: The folder.
        model: Its model; loaded if not given.
        samples: How many are scored, at least 8.
        steps: Of a walk; the model's own default if not given.
        seed: The first seed.
        more: What takes longer.
        precision: "fp32" or "bf16"; the model's own if not given.
        device: Where the model is loaded to.
        say: Takes the lines meant for a person.

    Raises:
        ValueError: If the folder is no run, its data are gone, or there are too few of them.
    """
    started, folder, more = time.perf_counter(), Path(run), more or More()
    model = copy.copy(load(folder, device=device) if model is None else model)
    model.precision = precision or model.precision
    model.defaults = dataclasses.replace(model.defaults, steps=steps or model.defaults.steps)
    data, history = real(model.domain), History.read(folder)
    if samples < LEAST or len(data.train["x"]) < 2 * LEAST:
        raise ValueError(f"{samples} samples of {len(data.train['x'])} items: a report needs {LEAST} and {2 * LEAST}")
    wish = Wish(samples, features="classifier" if recognisable(data) else None, seed=seed)
    found = evaluation(model, data, wish, folder.resolve().name, say)
    seen = Seen(found, walks(model, data, seed), *_more(folder, model, wish, more, say), lengths.read(folder))
    numbers: dict[str, Any] = {
        **flat(found),
        **history.numbers(),
        "samples": samples,
        "seed": seed,
        "steps": model.defaults.steps,
        "verdict": found.verdict,
        "accuracy_by_class": {row["name"]: row["accuracy"] for row in found.classes},
        "bound_bits_per_dim": sum(seen.bits) / len(seen.bits) if seen.bits else None,
        **facts(model, folder),
        "evaluation": found.json(),
        "report_seconds": time.perf_counter() - started,
    }
    text = page(model, numbers, data, history, seen)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(text, "utf-8")
    (folder / "report.json").write_text(json.dumps(finite(numbers), indent=1, allow_nan=False), "utf-8")
    return numbers


def evaluation(model: Model, data: Real, wish: Wish, name: str, say: Callable[[str], object]) -> Evaluation:
    """The model's samples beside its own data."""
    made = Made(model, wish.n, data.label if data.label in model.denoiser.conds else None, wish.seed)
    return measure.evaluation(name, made, model.domain, data, wish, say)


def flat(found: Evaluation) -> dict[str, Any]:
    """The numbers by name; beside each its interval and what real data reach, `name_interval` and `name_real`."""
    told: dict[str, Any] = {}
    for name, number in found.numbers.items():
        told[name] = number.value
        if not math.isnan(number.low):
            told[f"{name}_interval"] = [number.low, number.high]
        if number.real is not None:
            told[f"{name}_real"] = number.real.value
    return told


def _more(folder: Path, model: Model, wish: Wish, more: More, say: Callable[[str], object]) -> tuple[list[Point], list[float]]:
    """Points of several samplers, and likelihoods."""
    points = read(folder)
    if more.budgets and not points:
        points = curves(model, dataclasses.replace(wish, n=min(SWEPT, wish.n)), more.budgets, more.samplers, say)
    if not more.likelihoods or isinstance(model.times, One):
        return points, []
    try:
        return points, bounds(model, more.likelihoods)
    except ValueError as error:  # these data have none: no held-out part, or values that are no integers
        say(f"no likelihood: {error}")
        return points, []
