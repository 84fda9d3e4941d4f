"""Pictures as they are: a folder or archive of files in, samples of the same kind out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from unnoise.condition import Condition
from unnoise.domain.base import SPLITS, Rows, condition_facts, read_conditions, split_rows
from unnoise.domain.cache import Pack, Wish, pack
from unnoise.domain.files import held_out
from unnoise.domain.form import CROPS, FILTERS, background
from unnoise.domain.pictures import Pictures
from unnoise.domain.survey import LIMIT

CHANNELS = {1: "grey", 3: "rgb"}


@dataclass(frozen=True)
class Images(Pictures):
    """A folder of pictures, or a .tar, .tar.gz, .tgz or .zip of one, read in place: PNG, JPEG, WebP, BMP, TIFF, GIF, PPM, .npy;
    or an array of them, .npy or .npz; or tar shards, `part-{000..009}.tar` or a folder of them; or Parquet and Arrow tables in a
    folder, and data sets of Hugging Face's hub, `hf:OWNER/NAME`.

    Sub-folders are classes (the condition `label`); columns of `metadata.csv` or `metadata.jsonl` (with `file_name`), the
    labels of a `dataset.json` (EDM's) and the other arrays of a .npz are conditions too: classes, numbers, words; folders train/,
    val/ and test/ are splits. Without a val/, `held_out` of the training pictures are "val", by their content. What cannot be
    read is listed and left out. Everything is decoded once, into a cache ($UNNOISE_CACHE or ~/.cache/unnoise).

    Args:
        root: The folder, archive or array.
        size: Height and width, or one number for both; None: the size that all files have.
        channels: 1 grey, 3 colour, 4 colour and alpha; None: 3 where grey and colour are mixed, else what most files have.
        resize: The filter: "lanczos", "bicubic", "bilinear", "area" or "nearest".
        crop: "center" keeps proportions and cuts what is too long; "none" stretches the whole picture.
        flip: Mirror training pictures, left for right, half of the time.
        background: What shows through where alpha is not kept, as a CSS colour.
        conditions: The conditions to use; None: all that are found.
        drop: The share of training pictures for which a condition is not told, so that guidance has something to contrast
            with: one for all conditions, or each by its name. 0.1 where nothing is said.
        held_out: The share of the training pictures that are "val" if there is no val/.
        broken: The share of broken files above which the set is refused.

    Raises:
        ValueError: On construction for an option that cannot be; on first use for what is not a set of pictures.
    """

    root: str
    size: int | tuple[int, int] | None = None
    channels: int | None = None
    resize: str = "lanczos"
    crop: str = "center"
    flip: bool = False
    background: str = "white"
    conditions: tuple[str, ...] | None = None
    held_out: float = 0.05
    broken: float = LIMIT
    drop: float | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.resize not in FILTERS:
            raise ValueError(f"resize = {self.resize!r}; expected one of {', '.join(FILTERS)}")
        if self.crop not in CROPS:
            raise ValueError(f"crop = {self.crop!r}; expected one of {', '.join(CROPS)}")
        if self._size is not None and (len(self._size) != 2 or min(self._size) < 1):
            raise ValueError(f"size = {self.size}; expected a number of pixels, or (height, width)")
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"channels = {self.channels}; expected 1, 3, 4 or more")
        if not 0 <= self.held_out < 1 or not 0 <= self.broken <= 1:
            raise ValueError(f"held_out = {self.held_out}, broken = {self.broken}; expected shares in [0, 1)")
        for share in self.drop.values() if isinstance(self.drop, Mapping) else () if self.drop is None else (self.drop,):
            if not 0 <= share < 1:
                raise ValueError(f"drop = {share}; expected a share in [0, 1)")
        background(self.background, 3)

    def dataset(self, split: str = "train") -> Rows:
        columns = {name: self.decoded.columns[name] for name in self._conds}
        rows = split_rows(self.parts, split, self.root)
        return Rows(self.decoded.x, rows, columns, self.span, self.flip and split == "train")

    def names(self, split: str = "train") -> list[str]:
        """The file of each item of a split, in its order."""
        names = self.decoded.names()
        return [names[i] for i in split_rows(self.parts, split, self.root)]

    def measure(self) -> dict[str, Any]:
        kept, form = self.decoded, self.decoded.meta["form"]
        channels = "rgba" if form["alpha"] else CHANNELS.get(form["channels"], "other")
        facts = {"shape": [form["channels"], form["height"], form["width"]], "depth": form["depth"]}
        facts |= {"range": kept.meta["range"], "channels": channels}
        facts |= {"transform": {key: form[key] for key in ("resize", "crop", "background")}}
        facts |= {"splits": {split: len(rows) for split, rows in self.parts.items()}, "digest": kept.meta["digest"]}
        facts |= {"notes": kept.meta["notes"], "broken": len(kept.meta["broken"])}
        train = self.parts["train"]
        return facts | condition_facts(self._conds, {key: kept.columns[key][train] for key in self._conds})

    @property
    def _size(self) -> tuple[int, ...] | None:
        return (self.size, self.size) if isinstance(self.size, int) else self.size and tuple(self.size)

    @cached_property
    def decoded(self) -> Pack:
        """All pictures, from the cache or else into it."""
        wish = Wish(self._size, self.channels, self.resize, self.crop, self.background)  # type: ignore[arg-type]
        return pack(self.root, wish, self.broken)

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        """The rows of each split."""
        given, prints = self.decoded.tables["split"], self.decoded.tables["print"]
        splits = {name: np.flatnonzero(given == i) for i, name in enumerate(SPLITS)}
        if not len(splits["val"]):
            train = splits["train"]
            kept = held_out(prints[train], self.held_out)
            splits |= {"train": train[~kept], "val": train[kept]}
        return splits

    @cached_property
    def _conds(self) -> dict[str, Condition]:
        found = self.decoded.meta["conds"]
        wanted = found if self.conditions is None else self.conditions
        if unknown := [name for name in wanted if name not in found]:
            raise ValueError(f"{self.root} has no condition {unknown[0]!r}; it has {', '.join(found) or 'none'}")
        known = read_conditions({name: fields for name, fields in found.items() if name in wanted})
        drops = self.drop if isinstance(self.drop, Mapping) else {} if self.drop is None else dict.fromkeys(known, self.drop)
        if unknown := [name for name in drops if name not in known]:
            raise ValueError(f"drop.{unknown[0]}: {self.root} has no such condition; it has {', '.join(known) or 'none'}")
        return {name: replace(one, drop=drops.get(name, one.drop)) for name, one in known.items()}
