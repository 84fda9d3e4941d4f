"""What samples are compared with: the data that the model was trained on, and those that it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unnoise.domain import Domain
from unnoise.metric import nearest
from unnoise.tensor import permutation

VALUES = 2**28  # of one set in memory: 1 GB
READ = 4096  # items at once
YARDSTICK = 500  # held-out items that say what a usual distance is
ENOUGH = 2000  # real data beside the reference, to say what a perfect model would reach

Rows = dict[str, Tensor]  # "x" and the conditions, a row for each item


@dataclass(frozen=True)
class Real:
    """The data, in a shuffled order that is always the same.

    Args:
        train: Items of the training set (some of them where they are too many to hold).
        held_out: Those of the validation and the test set; None where there are none.
        of: How many items the training set has.
        label: The condition that is a class, if there is one, and the names of its classes.
    """

    train: Rows
    held_out: Rows | None
    of: int
    label: str | None
    classes: tuple[str, ...]

    @property
    def halves(self) -> tuple[Tensor, Tensor]:
        """Two disjoint halves of the training items, as row numbers."""
        half = len(self.train["x"]) // 2
        return torch.arange(half), torch.arange(half, 2 * half)

    def labelled(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The pictures whose class is known, and their classes."""
        known = rows[self.label or ""] < len(self.classes)
        return rows["x"][known], rows[self.label or ""][known]


def real(domain: Domain) -> Real:
    """Reads the data of a domain; ValueError where they are gone."""
    label = next((name for name, c in domain.conds.items() if c.classes and not c.shape), None)
    train, others = _read(domain, "train"), [_read(domain, split) for split in ("val", "test")]
    if train is None:
        raise ValueError("samples are compared with training data, and there are none")
    there = [rows for rows in others if rows is not None]
    held_out = {name: torch.cat([rows[name] for rows in there]) for name in there[0]} if there else None
    classes = domain.conds[label].classes if label else ()
    return Real(train, held_out, len(domain.dataset("train")), label, classes)


def _read(domain: Domain, split: str) -> Rows | None:
    try:
        dataset = domain.dataset(split)
    except ValueError:
        if split == "train":
            raise
        return None  # no such part
    most = max(VALUES // torch.Size(domain.shape).numel(), 2)
    rows = permutation(len(dataset), 0, f"report {split}")[:most]
    parts = [dataset.batch(some) for some in rows.split(READ)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Split:
    """Real data in two: those that samples are compared with, and others, which say what a perfect model would reach.

    Args:
        rows: Of the training set, the reference.
        x: The others, (M, *shape): as many held-out items as there are samples; where these are few, training items that the
            reference does without as well, at most half of them.
        labels: Of x, if there are classes.
    """

    rows: Tensor
    x: Tensor
    labels: Tensor | None


def split(domain: Any, real: Real, n: int) -> Split:
    """The split for n samples."""
    order = permutation(real.of, 0, "report train")
    held = len(real.held_out["x"]) if real.held_out is not None else 0
    aside = min(max(min(n, ENOUGH) - held, 0), real.of // 2)
    parts: list[Rows] = []
    if real.held_out is not None:
        taken = permutation(held, 0, "held out")[:n]
        parts.append({name: column[taken] for name, column in real.held_out.items()})
    if aside:
        parts.append(domain.dataset("train").batch(order[real.of - aside :]))
    labels = torch.cat([part[real.label] for part in parts]) if real.label else None
    return Split(order[: real.of - aside], torch.cat([part["x"] for part in parts]), labels)


def blocks(domain: Any, rows: Tensor, size: int = 512) -> Iterator[Tensor]:
    """Some training items x, a block at a time."""
    dataset = domain.dataset("train")
    return (dataset.batch(part)["x"] for part in rows.split(size))


def neighbours(x: Tensor, real: Real) -> list[tuple[Tensor, Tensor, float]]:
    """Each of x, the training item nearest to it, and their distance in units of a held-out item's."""
    data = real.train["x"]
    distance, index = nearest(x, data)
    fresh = nearest(real.held_out["x"][:YARDSTICK], data)[0].median() if real.held_out is not None else torch.ones(())
    return [(one, data[i], float(d / fresh.clamp(min=1e-12))) for one, i, d in zip(x, index, distance, strict=True)]
