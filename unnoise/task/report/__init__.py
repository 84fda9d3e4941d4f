"""The report of a run: what was learnt, how good it is, whether it copies, what it cost. One page, one table of numbers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unnoise.model import Model, load
from unnoise.task.evaluate.features import classifier
from unnoise.task.evaluate.real import real
from unnoise.task.report import measure
from unnoise.task.report.history import History, facts
from unnoise.task.report.page import page
from unnoise.task.report.walks import walks

__all__ = ["report"]

LEAST = 8  # samples and training items: neighbours of neighbours are asked for


def report(
    run: Path | str,
    model: Model | None = None,
    *,
    samples: int = 1000,
    steps: int | None = None,
    seed: int = 0,
    precision: str | None = None,
    device: torch.device | str = "cpu",
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Writes `report.html` and `report.json` into a run folder, and returns what the latter holds.

    Samples have seeds `seed`, `seed + 1`, ... and the conditions of real items. A classifier of the data's own is trained on
    first use and kept in the folder (`classifier.safetensors`). The same run gives the same report, but for the times.

    Args:
        run: The folder.
        model: Its model; loaded if not given.
        samples: How many are scored, at least 8.
        steps: Of a walk; the model's own default if not given.
        seed: The first seed.
        precision: "fp32" or "bf16"; the model's own if not given.
        device: Where the model is loaded to.
        say: Takes the lines meant for a person.

    Raises:
        ValueError: If the folder is no run, its data are gone, or there are too few of them.
    """
    started, folder = time.perf_counter(), Path(run)
    model = load(folder, device=device) if model is None else model
    if precision:
        model.precision = precision
    data, history = real(model.domain), History.read(folder)
    if samples < LEAST or len(data.train["x"]) < 2 * LEAST:
        raise ValueError(f"{samples} samples of {len(data.train['x'])} items: a report needs {LEAST} and {2 * LEAST}")
    say(f"report: {samples:,} samples")
    made = walks(model, data, samples, steps, seed)
    say("report: an independent classifier, distances")
    judge = classifier(data, str(model.domain.facts().get("digest", "")), folder)
    recognised, seen = measure.recognise(judge, made, data) if judge else ({}, None)
    nearest, neighbours = measure.memory(made, data)
    numbers: dict[str, Any] = {
        **recognised,
        **measure.compare(judge, made, data),
        "nearest": nearest,
        **history.numbers(),
        "samples": samples,
        "seed": seed,
        "steps": made.steps,
        "nfe": made.nfe,
        "seconds_per_image": made.seconds,
        **facts(model, folder),
        "report_seconds": time.perf_counter() - started,
    }
    text = page(folder.resolve().name, model, numbers, data, made, history, seen, neighbours)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(text, "utf-8")
    (folder / "report.json").write_text(json.dumps(_plain(numbers), indent=1, allow_nan=False), "utf-8")
    return numbers


def _plain(value: Any) -> Any:
    """A value that JSON can hold: what is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
