"""Samples or data that are one array, in a .npy or .npz file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from unnoise.condition import Condition
from unnoise.domain.base import Rows, content_digest
from unnoise.tensor import permutation

SUFFIXES = (".npy", ".npz")
ITEMS, LABELS = ("x", "images", "samples", "arr_0"), ("label", "labels", "y", "arr_1")  # names of members of an .npz
HELD_OUT = 0.1
DEPTHS = {"uint8": (0, 255), "uint16": (0, 65535)}


class Arrays:
    """Items x, (N, ...), and their classes, if the file has a member for them.

    Integers of 8 and 16 bits are pictures, whose stored values become -1 and 1, channels last or first; floats are taken as they
    stand. A tenth is "val", chosen by position.

    Args:
        path: A .npy file of the items; or an .npz with a member x, images, samples or arr_0, perhaps label, labels, y or arr_1.

    Raises:
        ValueError: For a file that holds no such array.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise ValueError(f"{path}: not an array that can be read ({error})") from error
        members: Mapping[str, np.ndarray] = {"x": stored} if isinstance(stored, np.ndarray) else stored
        name = next((name for name in ITEMS if name in members), None)
        if name is None:
            raise ValueError(f"{path}: no member named {', '.join(ITEMS)}; it has {', '.join(members) or 'none'}")
        self.x, self.label = _channels_first(members[name]), None
        if self.x.ndim < 2 or len(self.x) < 2 or self.x.dtype.kind not in "fiu":
            raise ValueError(f"{path}: an array of shape {self.x.shape} and type {self.x.dtype}; expected numbers, (N, ...)")
        labels = next((members[name] for name in LABELS if name in members), None)
        if labels is not None and labels.shape == (len(self.x),) and labels.dtype.kind in "iu":
            self.label = labels.astype(np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item."""
        return tuple(self.x.shape[1:])

    @property
    def conds(self) -> dict[str, Condition]:
        """Its classes, by number."""
        return {} if self.label is None else {"label": Condition(classes=tuple(map(str, range(int(self.label.max()) + 1))))}

    def facts(self) -> dict[str, Any]:
        """Depth and digest."""
        return {"depth": self.x.dtype.name, "digest": self._digest, "transform": {}}

    def dataset(self, split: str = "train") -> Rows:
        """A part of the items, "all" of them too; ValueError for a part that there is not."""
        order, held = permutation(len(self.x), 0, "held out").numpy(), int(HELD_OUT * len(self.x))
        parts = {"all": np.arange(len(self.x)), "val": np.sort(order[:held]), "train": np.sort(order[held:])}
        if split not in parts or not len(parts[split]):
            raise ValueError(f"{self.path} has no {split!r} part")
        columns = {} if self.label is None else {"label": self.label}
        return Rows(self.x, parts[split], columns, DEPTHS.get(self.x.dtype.name, (-1, 1)))

    @cached_property
    def _digest(self) -> str:
        prints = [int.from_bytes(hashlib.blake2b(one.tobytes(), digest_size=8).digest(), "big") for one in self.x]
        return content_digest(np.array(prints, np.uint64), {} if self.label is None else {"label": self.label})


def _channels_first(x: np.ndarray) -> np.ndarray:
    """Pictures with their channels before their sides, where they stand behind them."""
    behind = x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3, 4)
    return x.transpose(0, 3, 1, 2) if behind else x[:, None] if x.ndim == 3 and x.dtype.name in DEPTHS else x
