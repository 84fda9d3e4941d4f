"""What a report compares with: the data that the model was trained on, and those that it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.domain import Domain
from unnoise.tensor import permutation

VALUES = 2**28  # of one set in memory: 1 GB
READ = 4096  # items at once

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
        raise ValueError("a report compares with the training data, and there are none")
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
