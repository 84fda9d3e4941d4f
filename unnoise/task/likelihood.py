"""How probable data are under a trained model: nats, bits a dimension, and each item's own."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.codec import Identity
from unnoise.domain import Dataset
from unnoise.guidance import Clip
from unnoise.likelihood import Flow, bits, bound, dequantize, normal, width
from unnoise.loss import Decoder
from unnoise.loss.vlb import STEPS, Variance
from unnoise.model import Model, load
from unnoise.schedule import Schedule, Table
from unnoise.task import machine
from unnoise.tensor import Rng
from unnoise.times import One

SPLITS = ("train", "val", "test")
LEVELS = {"uint8": 256, "uint16": 65536}
FITTED = 20_000  # items that the normal law is fitted to


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Args:
        items: At most so many, the first of the data.
        method: "bound", "flow", or both.
        steps: Of the bound's walk; all of a table, 1000 without one.
        draws: Of the walk's steps for each item, evenly spread; 0: all of them.
        variance: Of the walk's steps; what the recipe's ancestral sampler has if not given, else the smaller.
        levels: Stored values of a place (2^bits); those of the data's kind if not given.
        given: Condition on what the data say; otherwise every condition is at its null.
        trace, probes, tolerance: Of the flow; see `unnoise.likelihood.Flow`.
        seed: Of noises, directions and dequantisation.
        batch: Items at once.
    """

    items: int = 1000
    method: str = "both"
    steps: int | None = None
    draws: int = 100
    variance: Variance | None = None
    levels: int | None = None
    given: bool = False
    trace: str = "hutchinson"
    probes: int = 1
    tolerance: float = 1e-4
    seed: int = 0
    batch: int = 50

    def __post_init__(self) -> None:
        if self.method not in ("bound", "flow", "both"):
            raise ValueError(f"--method {self.method}: expected bound, flow or both")
        if self.variance not in (None, "small", "large", "learned"):
            raise ValueError(f"--variance {self.variance}: expected small, large or learned")
        for name, least in (("items", 1), ("draws", 0), ("batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} {getattr(self, name)}: expected at least {least}")
        if self.levels is not None and self.levels < 2:
            raise ValueError(f"--levels {self.levels}: expected at least 2")


def likelihood(run: Path, data: str = "val", wish: Wish | None = None, device: str = "auto") -> dict[str, Any]:
    """Likelihoods of data under the run's model.

    Args:
        run: The run folder.
        data: A part of the run's own data (train, val or test), or a folder or archive of pictures.
        wish: See `Wish`.
        device: "auto", "cuda", "mps" or "cpu".

    Returns:
        What was asked, and for each method bits and nats a dimension with their standard errors, the bound's three kinds of terms
        apart, the same of a normal law fitted to the training data, and `samples`: one row an item, the least probable first.

    Raises:
        ValueError: For data or options that do not fit the model.
    """
    return measure(load(run, device=machine.device(device)), data, wish or Wish()) | {"run": str(run)}


def measure(model: Model, data: str = "val", wish: Wish | None = None) -> dict[str, Any]:
    """The same for a model that is loaded."""
    wish = wish or Wish()
    if not isinstance(model.codec, Identity):
        raise ValueError("a likelihood is one of data, and this model makes latents of a codec")
    if isinstance(model.times, One):
        raise ValueError("a likelihood needs a walk through all noise levels, and this model answers at t = 1 alone")
    if model.shown:
        raise ValueError("this model makes pictures of others that it is shown; a likelihood is of models that are not")
    dataset, names = find(model, data)
    levels = wish.levels or LEVELS.get(str(model.domain.facts().get("depth")))
    if levels is None:
        raise ValueError("the data are no integers: give --levels, the number of values that a place may have")
    n, bin_ = min(wish.items, len(dataset)), width(levels)
    told: dict[str, Any] = {"data": data, "items": n, "dimensions": math.prod(model.domain.shape), "levels": levels}
    columns: dict[str, Tensor] = {}
    if wish.method in ("bound", "both"):
        told["bound"], columns["bound"] = _bound(model, dataset, n, wish, levels)
    if wish.method in ("flow", "both"):
        told["flow"], columns["flow"] = _flow(model, dataset, n, wish, bin_)
    if (law := _normal(model, dataset, n, wish, bin_)) is not None:
        told["normal law"] = summary(law)
    return told | {"samples": rows(columns, names)}


def bounds(model: Model, items: int) -> list[float]:
    """Bits a number of each of some held-out items, by the variational bound."""
    return [row["bound"] for row in measure(model, "val", Wish(items=items, method="bound"))["samples"]]


def find(model: Model, data: str) -> tuple[Dataset, Sequence[str] | None]:
    """The data set and, where items are files, their names; ValueError where there is none."""
    if data in SPLITS:
        own = getattr(model.domain, "names", None)
        return model.domain.dataset(data), own(data) if own else None
    if "Images" not in model.recipe.members("domain"):
        raise ValueError(f"{data}: expected {', '.join(SPLITS)}: this model's data are not a folder of pictures")
    channels, height, wide = model.domain.shape
    changes = {"root": repr(data), "size": [height, wide], "channels": channels, "held_out": 0.0, "conditions": []}
    domain = model.recipe.override(*(f"domain.Images.{key}={value}" for key, value in changes.items())).build("domain")
    return domain.dataset("train"), domain.names("train")


def summary(values: Tensor) -> dict[str, float]:
    """Bits a dimension: their mean with its standard error, and the mean in nats."""
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else math.nan
    mean = float(values.mean())
    return {"bits_per_dim": round(mean, 5), "error": round(error, 5), "nats_per_dim": round(mean * math.log(2), 5)}


def rows(columns: dict[str, Tensor], names: Sequence[str] | None) -> list[dict[str, Any]]:
    """One row an item, the least probable first."""
    order = next(iter(columns.values())).argsort(descending=True).tolist()
    named = [{"index": i} | ({"name": str(names[i])} if names is not None else {}) for i in order]
    return [row | {key: round(float(c[row["index"]]), 5) for key, c in columns.items()} for row in named]


def lines(told: dict[str, Any]) -> dict[str, str]:
    """What was found, for a person."""
    shown = {key: str(told[key]) for key in ("data", "items", "dimensions", "levels")}
    for key in ("bound", "flow", "normal law"):
        if found := dict(told.get(key, {})):
            mean, error, nats = (found.pop(name) for name in ("bits_per_dim", "error", "nats_per_dim"))
            rest = ", ".join(f"{name} {value}" for name, value in found.items())
            shown[key] = f"{mean:.3f} +- {error:.3f} bits a dimension ({nats:.3f} nats){': ' * bool(rest)}{rest}"
    shown["least probable"] = ", ".join(str(row.get("name", row["index"])) for row in told["samples"][:5])
    return shown


def write(told: dict[str, Any], as_json: Path | None = None, as_csv: Path | None = None) -> None:
    """Keeps what was found: everything as JSON, the items as CSV."""
    if as_json:
        as_json.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    if as_csv:
        with as_csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(told["samples"][0]))
            writer.writeheader()
            writer.writerows(told["samples"])


def walk(schedule: Schedule, steps: int | None, finest: float) -> list[float]:
    """The times of a bound: all or some entries of a table; of a schedule in continuous time, times even in log_snr.

    They begin where sigma / alpha is `finest`, the width of a stored value: below it the decoder has nothing left to tell, and
    a step that leaps over many log_snr at once, as sub-VP's first in even t, would cost bits.
    """
    if not isinstance(schedule, Table):
        ends = torch.tensor([1.0, schedule.t_min], dtype=torch.float64)
        low, high = schedule.log_snr(ends).tolist()
        levels = torch.linspace(low, min(high, -2 * math.log(finest)), steps or STEPS, dtype=torch.float64)
        return schedule.time(levels).clamp(schedule.t_min, 1).tolist()
    size = len(schedule)
    if steps is not None and steps > size:
        raise ValueError(f"--steps {steps}: the model's table has {size}")
    return (torch.linspace(1, size, steps or size, dtype=torch.float64).round() / size).tolist()


def _batches(model: Model, dataset: Dataset, n: int, wish: Wish) -> Iterator[tuple[Tensor, dict[str, Tensor], Rng]]:
    for indices in torch.arange(n).split(wish.batch):
        batch = {name: value.to(model.device) for name, value in dataset.batch(indices).items()}
        cond = {name: batch[name] for name in model.denoiser.conds if name in batch} if wish.given else {}
        yield batch["x"], cond, Rng(wish.seed, indices)


def _bound(model: Model, dataset: Dataset, n: int, wish: Wish, levels: int) -> tuple[dict[str, Any], Tensor]:
    times = walk(model.denoiser.schedule, wish.steps, width(levels))
    variance = wish.variance or _variance(model)
    rules = [rule for rule in model.guidance if isinstance(rule, Clip)]
    denoiser = model.guided(rules)
    draws = wish.draws if 0 < wish.draws < len(times) else None
    found = [
        bound(denoiser, x, times, rng, cond, variance=variance, decoder=Decoder(levels), draws=draws)
        for x, cond, rng in _batches(model, dataset, n, wish)
    ]
    kinds = {
        kind: torch.cat([getattr(part, kind) for part in found]) for kind in ("prior", "denoising", "reconstruction", "total")
    }
    in_bits = {kind: values.double().cpu() / math.log(2) for kind, values in kinds.items()}
    total = in_bits.pop("total")
    parts = {kind: round(float(values.mean()), 5) for kind, values in in_bits.items()}
    return summary(total) | parts | {"steps": len(times), "variance": variance}, total


def _flow(model: Model, dataset: Dataset, n: int, wish: Wish, bin_: float) -> tuple[dict[str, Any], Tensor]:
    flow = Flow(wish.trace, wish.probes, wish.tolerance, wish.tolerance)  # type: ignore[arg-type]
    found, nfe = [], 0
    for x, cond, rng in _batches(model, dataset, n, wish):
        density = flow(model.guided([]), dequantize(x, bin_, rng), rng, cond)
        found.append(bits(density.log_prob, x[0].numel(), bin_))
        nfe = max(nfe, density.nfe)
    total = torch.cat(found)
    return summary(total) | {"nfe": nfe, "trace": wish.trace}, total


def _normal(model: Model, dataset: Dataset, n: int, wish: Wish, bin_: float) -> Tensor | None:
    """Bits a dimension of the normal law with the training data's mean and covariance; None where these are not at hand."""
    try:
        own = model.domain.dataset("train")
    except (ValueError, OSError):
        return None
    train = torch.cat([own.batch(rows)["x"] for rows in torch.arange(min(len(own), FITTED)).split(1000)])
    asked = torch.cat([dequantize(x, bin_, rng).cpu() for x, _, rng in _batches(model, dataset, n, wish)])
    return bits(normal(train, asked, bin_), train[0].numel(), bin_)


def _variance(model: Model) -> Variance:
    if getattr(model.denoiser.network, "variance", False):
        return "learned"
    return "large" if getattr(model.sampler, "variance", "") == "large" else "small"
