"""What a file is: the base of every domain, and the data set that is held in one array.

A domain turns files into tensors x and back. All that it says without its data (shape, conditions, value range) stands in its
facts, which a run keeps in `data.json`; a domain given those facts saves samples on a machine that never saw the data.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from unnoise.condition import Condition
from unnoise.domain.balance import counted
from unnoise.tensor import Cond, Rng, permutation

if TYPE_CHECKING:
    from PIL.Image import Image

SPLITS = ("train", "val", "test")
TABLE = 10_000  # rows of the condition table that facts keep


class Dataset(Protocol):
    """Items by number; a batch of them at once."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor, rng: Rng | None = None) -> dict[str, Tensor]:
        """`{"x": (B, *shape)}` and the conditions, each (B, ...); changed at random (flipped) only where `rng` is given."""
        ...


class Domain(ABC):
    """What the files of one kind of data are. Cheap to construct; the data are read on first use, and once."""

    def facts(self) -> dict[str, Any]:
        """All that `shape`, `conds`, `save` and `draw` need when the data are not there; holds only what JSON can."""
        return self._facts

    def with_facts(self, facts: Mapping[str, Any]) -> Self:
        """The same domain with facts that were kept: reads no data, unless a data set is asked for."""
        known = copy.copy(self)
        known.__dict__["_facts"] = dict(facts)
        return known

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample x."""
        return tuple(self.facts()["shape"])

    @property
    def conds(self) -> dict[str, Condition]:
        """The conditions that the data offer."""
        return read_conditions(self.facts()["conds"])

    def draw(self, rng: Rng) -> dict[str, Tensor]:
        """Conditions as the training set has them, all of one sample from the same row; one for each stream of `rng`."""
        table = self.facts()["table"]
        if not table:
            return {}
        rows = rng.integers(len(next(iter(table.values()))), (), "conditions")
        return {name: torch.as_tensor(_column(table[name], condition))[rows] for name, condition in self.conds.items()}

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        """The nearest tensor that is an x at all; for most data every tensor is."""
        return x

    @abstractmethod
    def dataset(self, split: str = "train") -> Dataset:
        """The items of "train", "val" or "test"; ValueError where there are none."""

    @abstractmethod
    def save(
        self, x: Tensor, folder: Path, names: Sequence[str], metadata: Sequence[Mapping[str, str]] | None = None
    ) -> list[Path]:
        """Writes samples x, (B, *shape), as files that `load` reads, and says which."""

    @abstractmethod
    def load(self, paths: Sequence[Path]) -> Tensor:
        """Files brought to the form of the data, (B, *shape)."""

    @abstractmethod
    def grid(self, x: Tensor, columns: int | None = None) -> Image:
        """One picture that shows the samples x, so many in a row where they stand in rows."""

    @abstractmethod
    def measure(self) -> dict[str, Any]:
        """The facts, from the data."""

    @cached_property
    def _facts(self) -> dict[str, Any]:
        return self.measure()


@dataclass(frozen=True, eq=False)
class Rows:
    """A data set that is some rows of one array, which may be a memory map.

    Args:
        x: All items, (N, *shape), of any depth; or what gives some of them by number, as an array does.
        rows: Those of this data set, (n,).
        columns: Each condition of all items, (N, ...).
        span: The values of the array that become -1 and 1.
        flip: Whether a training item is mirrored, left for right, with probability 1/2.
    """

    x: Any
    rows: np.ndarray
    columns: Mapping[str, np.ndarray]
    span: tuple[float, float] = (-1, 1)
    flip: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor, rng: Rng | None = None) -> dict[str, Tensor]:
        rows = self.rows[indices.cpu().numpy()]
        levels = self.x[rows]
        if self.flip and rng is not None:  # as stored: a quarter of the bytes that x has
            mirrored = (rng.host.uniform((), "flip") < 0.5).numpy()
            levels[mirrored] = levels[mirrored][..., ::-1]
        return {"x": from_levels(levels, self.span)} | {
            name: torch.from_numpy(column[rows]) for name, column in self.columns.items()
        }


def from_levels(levels: np.ndarray, span: tuple[float, float]) -> Tensor:
    """Stored values as x: span -> [-1, 1]. Exact at both ends; `to_levels` gives back every level of 8 and 16 bits."""
    low, half = span[0], (span[1] - span[0]) / 2
    x = torch.from_numpy(levels.astype(np.float32))
    if span == (-1, 1):
        return x
    return (x.sub_(low) if low else x).div_(half).sub_(1)


def to_levels(x: Tensor, span: tuple[float, float], depth: str) -> np.ndarray:
    """x as values to store: clipped to the span, rounded where `depth` is an integer one."""
    values = (x.detach().cpu().to(torch.float64).numpy() + 1) * ((span[1] - span[0]) / 2) + span[0]
    values = np.clip(values, *span)
    return (np.rint(values) if depth.startswith("uint") else values).astype(depth)


def fingerprint(content: bytes) -> int:
    """64 bits of the content's digest: what decides into which split an item falls."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def content_digest(prints: np.ndarray, columns: Mapping[str, np.ndarray]) -> str:
    """Of all items and their conditions, in order."""
    digest = hashlib.sha256(np.ascontiguousarray(prints).tobytes())
    for name in sorted(columns):
        digest.update(name.encode() + np.ascontiguousarray(columns[name]).tobytes())
    return digest.hexdigest()


def condition_facts(conds: Mapping[str, Condition], columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The conditions and their distribution over the rows of `columns` (the training set).

    Gives `conds`, numbers with their mean and std; `counts` of each class and word; `spread` of each number (mean, std and 101
    quantiles of those present); `table`, the rows themselves, at most 10,000 of them chosen by key, so that joint distributions
    survive (of words the places of those that hold).
    """
    conds = dict(conds)
    n = len(next(iter(columns.values()))) if columns else 0
    chosen = permutation(n, 0, "condition table")[:TABLE].numpy() if n > TABLE else np.arange(n)
    counts, spread, table = {}, {}, {}
    for name, condition in conds.items():
        column = columns[name]
        if condition.classes or condition.words:
            counts[name] = list(counted(condition, column).values())
        elif not condition.shape and np.isfinite(column).any():
            present = column[np.isfinite(column)].astype(np.float64)
            quantiles = np.quantile(present, np.linspace(0, 1, 101)).tolist()
            spread[name] = {"mean": float(present.mean()), "std": float(present.std()), "quantiles": quantiles}
            conds[name] = replace(condition, mean=spread[name]["mean"], std=spread[name]["std"])
        rows = column[chosen]
        if condition.words:
            table[name] = [None if np.isnan(row).any() else np.flatnonzero(row).tolist() for row in rows]
        else:
            table[name] = (rows if condition.classes else _none_for_nan(rows)).tolist()
    described = {name: _plain(condition) for name, condition in conds.items()}
    return {"conds": described, "counts": counts, "spread": spread, "table": table}


def split_rows(rows: Mapping[str, np.ndarray], split: str, what: str) -> np.ndarray:
    """The rows of a split; ValueError where there are none."""
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; expected one of {', '.join(SPLITS)}")
    if split not in rows or not len(rows[split]):
        raise ValueError(f"{what} has no {split!r} part; it has {', '.join(s for s in rows if len(rows[s])) or 'none'}")
    return rows[split]


def read_conditions(described: Mapping[str, Mapping[str, Any]]) -> dict[str, Condition]:
    """Conditions as JSON has them, as they are; of older runs numbers were not standardised."""
    return {
        name: Condition(
            fields["route"],
            tuple(fields["shape"]),
            tuple(fields["classes"]),
            fields["drop"],
            float(fields.get("mean", 0.0)),
            float(fields.get("std", 1.0)),
            tuple(fields.get("words", ())),
        )
        for name, fields in described.items()
    }


def _plain(condition: Condition) -> dict[str, Any]:
    return {
        "route": condition.route,
        "shape": list(condition.shape),
        "classes": list(condition.classes),
        "drop": condition.drop,
        **({"words": list(condition.words)} if condition.words else {}),
        **({"mean": condition.mean, "std": condition.std} if (condition.mean, condition.std) != (0.0, 1.0) else {}),
    }


def _none_for_nan(values: np.ndarray) -> np.ndarray:
    plain = values.astype(object)
    plain[np.isnan(values)] = None  # JSON has no NaN
    return plain


def _column(values: list[Any], condition: Condition) -> np.ndarray:
    if condition.words:
        size = len(condition.words)
        return np.array([[np.nan] * size if row is None else np.isin(range(size), row) for row in values], np.float32)
    return np.array(values, dtype=np.int64 if condition.classes else np.float32)  # None becomes NaN
