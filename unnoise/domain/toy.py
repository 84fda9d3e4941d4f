"""Small data that need no files: points in the plane, and real handwritten digits that come with the package."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from unnoise.condition import Condition
from unnoise.domain.base import (
    Domain,
    Rows,
    condition_facts,
    content_digest,
    fingerprint,
    split_rows,
)
from unnoise.domain.pictures import Pictures
from unnoise.tensor import Rng

if TYPE_CHECKING:
    from PIL.Image import Image


def two_moons(rng: Rng) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles of radius 1, noise 0.07."""
    label = rng.integers(2, (), "label")
    angle = math.pi * rng.uniform((), "angle")
    sign = 1 - 2 * label
    x = torch.stack([label + sign * angle.cos(), label / 2 + sign * angle.sin()], -1)
    return x + 0.07 * rng.normal((2,), "noise"), label


def rings(rng: Rng) -> tuple[Tensor, Tensor]:
    """Three concentric circles of radius 1, 2, 3, equally likely, noise 0.08."""
    label = rng.integers(3, (), "label")
    return _polar(label + 1, 2 * math.pi * rng.uniform((), "angle")) + 0.08 * rng.normal((2,), "noise"), label


def grid(rng: Rng) -> tuple[Tensor, Tensor]:
    """25 Gaussians of deviation 0.05 on a 5 x 5 grid of spacing 1."""
    label = rng.integers(25, (), "label")
    return torch.stack([label // 5, label % 5], -1) + 0.05 * rng.normal((2,), "noise"), label


def gaussians(rng: Rng) -> tuple[Tensor, Tensor]:
    """8 Gaussians of deviation 0.1 on a circle of radius 2."""
    label = rng.integers(8, (), "label")
    return _polar(torch.full((len(rng),), 2.0), label * math.pi / 4) + 0.1 * rng.normal((2,), "noise"), label


def spirals(rng: Rng) -> tuple[Tensor, Tensor]:
    """Two arms of one and a half turns, noise 0.05."""
    label = rng.integers(2, (), "label")
    turn = 3 * math.pi * rng.uniform((), "angle").sqrt()
    return _polar(turn / math.pi, turn + math.pi * label) + 0.05 * rng.normal((2,), "noise"), label


def checkerboard(rng: Rng) -> tuple[Tensor, None]:
    """The dark fields of a 4 x 4 board, uniformly."""
    row, column = rng.integers(4, (), "row"), rng.integers(2, (), "column")
    corner = torch.stack([2 * column + row % 2, row], -1)
    return corner + rng.uniform((2,), "place"), None


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    return torch.stack([radius * angle.cos(), radius * angle.sin()], -1)


SHAPES: dict[str, Callable[[Rng], tuple[Tensor, Tensor | None]]] = {
    shape.__name__: shape for shape in (two_moons, rings, grid, gaussians, spirals, checkerboard)
}


@dataclass(frozen=True)
class Points(Domain):
    """Points of the plane, x (2,): each axis of the training set has mean 0 and variance 1.

    Args:
        name: "two_moons", "rings", "grid", "gaussians", "spirals" (all with the condition `label`) or "checkerboard".
        n: How many to train on; a tenth as many are held out for "val", and again for "test".
        seed: Of the draws; point i is a function of (seed, split, i).
    """

    name: str = "two_moons"
    n: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in SHAPES:
            raise ValueError(f"no points named {self.name!r}; expected one of {', '.join(SHAPES)}")
        if self.n < 2:
            raise ValueError(f"n = {self.n}: expected at least 2 points")

    def measure(self) -> dict[str, Any]:
        x, label = self._raw("train")
        classes = () if label is None else tuple(str(i) for i in range(int(label.max()) + 1))
        conds = {"label": Condition(classes=classes)} if classes else {}
        columns = {} if label is None else {"label": label.numpy()}
        counts = {"train": self.n, "val": self._count("val"), "test": self._count("test")}
        scale = {"mean": x.mean(0).tolist(), "std": x.std(0, correction=0).tolist()}
        facts = {"shape": [2], "splits": counts, "digest": content_digest(x.numpy(), columns), **scale}
        return facts | condition_facts(conds, columns)

    def dataset(self, split: str = "train") -> Rows:
        rows = split_rows({split: np.arange(self._count(split))}, split, f"Points({self.name!r})")
        x, label = self._raw(split)
        x = (x - torch.tensor(self.facts()["mean"])) / torch.tensor(self.facts()["std"])
        return Rows(x.numpy(), rows, {} if label is None else {"label": label.numpy()})

    def save(
        self, x: Tensor, folder: Path, names: Sequence[str], metadata: Sequence[Mapping[str, str]] | None = None
    ) -> list[Path]:
        """One table, `points.csv`: a row for each point, its name and metadata in the columns after x0 and x1."""
        import csv

        keys = sorted({key for row in metadata or () for key in row})
        path = Path(folder) / "points.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["x0", "x1", "name", *keys])
            for point, name, row in zip(x.tolist(), names, metadata or [{}] * len(names), strict=True):
                table.writerow([*point, name, *(row.get(key, "") for key in keys)])
        return [path]

    def load(self, paths: Sequence[Path]) -> Tensor:
        tables = [np.loadtxt(path, np.float32, delimiter=",", skiprows=1, usecols=(0, 1), ndmin=2) for path in paths]
        return torch.from_numpy(np.concatenate(tables))

    def grid(self, x: Tensor, columns: int | None = None) -> Image:
        """Where the points lie: their density over [-3, 3]^2, 256 pixels wide; darker is denser."""
        from PIL import Image

        points = x.detach().cpu().double().numpy()
        density, _, _ = np.histogram2d(-points[:, 1], points[:, 0], bins=256, range=[[-3, 3], [-3, 3]])
        return Image.fromarray((255 * np.exp(-density)).astype(np.uint8))

    def _count(self, split: str) -> int:
        return self.n if split == "train" else max(self.n // 10, 1)

    def _raw(self, split: str) -> tuple[Tensor, Tensor | None]:
        part = {"train": 0, "val": 1, "test": 2}[split]
        return SHAPES[self.name](Rng(self.seed, torch.arange(self._count(split))).at(part))


@dataclass(frozen=True)
class Digits(Pictures):
    """1,797 real handwritten digits, 8 x 8 grey, with the condition `label`; held inside the package.

    About 80 % train, 10 % val and 10 % test, by content. Their 17 levels (0..16) are spread over 8 bits, so that they are
    saved and read as any grey picture is.

    Args:
        conditions: The conditions to use, of which there is one; none for models that know no classes.

    Raises:
        ValueError: For another condition.

    Reference: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (its test
    set, the copy of scikit-learn). doi:10.24432/C50P49. CC BY 4.0
    """

    conditions: tuple[str, ...] = ("label",)

    def __post_init__(self) -> None:
        if unknown := set(self.conditions) - {"label"}:
            raise ValueError(f"the digits have no condition {min(unknown)!r}; they have label")

    def measure(self) -> dict[str, Any]:
        x, columns, rows = self._data
        facts: dict[str, Any] = {"shape": [1, 8, 8], "depth": "uint8", "range": [0, 255], "channels": "grey"}
        prints = np.array([fingerprint(picture.tobytes()) for picture in x], np.uint64)
        counts = {split: len(some) for split, some in rows.items()}
        conds = {name: Condition(classes=tuple("0123456789")) for name in self.conditions}
        facts |= {"splits": counts, "digest": content_digest(prints, columns), "transform": {}}
        return facts | condition_facts(conds, {name: columns[name][rows["train"]] for name in conds})

    def dataset(self, split: str = "train") -> Rows:
        x, columns, rows = self._data
        return Rows(x, split_rows(rows, split, "Digits"), {name: columns[name] for name in self.conditions}, (0, 255))

    @cached_property
    def _data(self) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
        with (files("unnoise.domain") / "data" / "digits.npz").open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            x, label = stored["x"], stored["label"].astype(np.int64)
        share = np.array([fingerprint(picture.tobytes()) for picture in x]) / 2.0**64
        parts = {"train": share >= 0.2, "val": (share >= 0.1) & (share < 0.2), "test": share < 0.1}
        levels = np.rint(x * (255 / 16)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
        return levels, {"label": label}, {split: np.flatnonzero(part) for split, part in parts.items()}
