"""Where samples come from: a model that makes them as they are asked for, a folder or archive of pictures, or an array."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from unnoise.domain import Dataset, Domain, Images
from unnoise.domain.base import from_levels, to_levels
from unnoise.model import Model
from unnoise.task import machine, ranks
from unnoise.task.evaluate.arrays import SUFFIXES, Arrays
from unnoise.tensor import permutation

BLOCK = 128  # samples at once, at least


class Source(Protocol):
    """Samples, a block at a time.

    Attributes:
        n: How many there are.
        asked: The class that each was asked for, (n,), where that is known; the null is none.
        chosen: Whether these classes were chosen, rather than drawn as the data have them.
        about: What is to be said of them.
    """

    n: int
    asked: Tensor | None
    chosen: bool
    about: dict[str, Any]

    def blocks(self) -> Iterator[Tensor]:
        """All of them, in order, (B, *shape)."""
        ...


@dataclass
class Made:
    """Samples of a model, of seeds `seed`, `seed + 1`, ..., at the depth that their files would have.

    Conditions are those asked for, else drawn as the training data have them. Over several ranks each makes its share of the
    blocks; the first gets them all.

    Args:
        model: Makes them, in its own way.
        n, seed: How many, and the first seed.
        label: The condition that is a class.
        cond: As `Model.sample` takes it.
    """

    model: Model
    n: int
    label: str | None
    seed: int = 0
    cond: Mapping[str, Any] | None = None
    seconds: list[float] = field(default_factory=list)
    joules: float | None = None
    nfe: int = 0

    def __post_init__(self) -> None:
        seeds = range(self.seed, self.seed + self.n)
        self.values = self.model.draw(seeds) if self.cond is None else self.model.conditions(self.cond, self.n)
        self.asked, self.chosen = self.values.get(str(self.label)), self.cond is not None
        self.about: dict[str, Any] = {"kind": "run", "weights": self.model.digest, "seed": self.seed}

    def blocks(self) -> Iterator[Tensor]:
        batch = self.model.defaults.batch
        size = batch * max(BLOCK // batch, 1)
        before = machine.joules()
        for x, seconds, nfe in ranks.each(list(torch.arange(self.n).split(size)), self._make):
            self.seconds.append(seconds / len(x))
            self.nfe = nfe
            yield x
        taken = machine.spent(before, machine.joules())
        self.joules = None if taken is None else taken / self.n

    def _make(self, rows: Tensor) -> tuple[Tensor, float, int]:
        counted = [0]
        started = time.perf_counter()
        x = self.model.sample(
            seeds=[self.seed + int(i) for i in rows],
            cond={name: values[rows] for name, values in self.values.items()},
            callback=lambda moment: counted.append(moment.nfe),
        )
        return stored(x, self.model.domain), time.perf_counter() - started, counted[-1]


@dataclass
class Found:
    """Samples that are there already: the first n of a data set in a shuffled order, or all of them."""

    dataset: Dataset
    n: int
    about: dict[str, Any]
    asked: Tensor | None = None
    chosen: bool = False

    def blocks(self) -> Iterator[Tensor]:
        if ranks.rank() == 0:
            for rows in chosen(self.dataset, self.n).split(BLOCK):
                yield self.dataset.batch(rows)["x"]


def chosen(dataset: Dataset, n: int) -> Tensor:
    """The rows that are taken of a data set: all in their order, or n of them."""
    return torch.arange(len(dataset)) if n >= len(dataset) else permutation(len(dataset), 0, "samples")[:n]


def stored(x: Tensor, domain: Any) -> Tensor:
    """Samples as they come back from their files: integers of 8 or 16 bits are rounded to."""
    depth = str(domain.facts().get("depth", ""))
    return from_levels(to_levels(x, domain.span, depth), domain.span) if depth.startswith("uint") else x


def opened(path: Path, like: Domain | None) -> Domain | Arrays:
    """The data at a path: an array, or pictures, brought to the form of those of another domain if one is given."""
    if path.suffix.lower() in SUFFIXES and path.is_file():
        return Arrays(path)
    if like is None or len(like.shape) != 3:
        return Images(str(path))
    channels, height, width = like.shape
    given = like.facts().get("transform") or {}
    return Images(
        str(path), size=(height, width), channels=channels, **{key: given[key] for key in ("resize", "crop") if key in given}
    )


def found(path: Path, n: int, data: Domain | Arrays, classes: tuple[str, ...]) -> Found:
    """Samples of a folder, archive or array, in the form of the data; their classes, if they have the data's classes' names.

    Raises:
        ValueError: If there are none, or they have another shape.
    """
    if path.suffix.lower() in SUFFIXES and path.is_file():
        kept: Any = Arrays(path)
        dataset, kind = kept.dataset("all"), "array"
    else:
        if len(data.shape) != 3:
            raise ValueError(f"{path}: pictures; the data have shape {tuple(data.shape)}")
        channels, height, width = data.shape
        kept = Images(str(path), size=(height, width), channels=channels, held_out=0.0)
        dataset, kind = kept.dataset("train"), _formats(kept.names("train"))
    if tuple(kept.shape) != tuple(data.shape):
        raise ValueError(f"{path}: samples of shape {tuple(kept.shape)}; the data have {tuple(data.shape)}")
    rows = chosen(dataset, n)
    asked, names = None, tuple(kept.conds["label"].classes) if "label" in kept.conds else ()
    if classes and names and set(names) <= set(classes):
        to = torch.tensor([*(classes.index(name) for name in names), len(classes)])
        asked = to[torch.cat([dataset.batch(some)["label"] for some in rows.split(4096)])]
    return Found(dataset, len(rows), {"kind": kind, "digest": str(kept.facts().get("digest", ""))}, asked)


def _formats(names: list[str]) -> str:
    return "+".join(sorted({Path(name).suffix.lower().lstrip(".").replace("jpg", "jpeg") for name in names}))
