"""Pictures in the tables of Hugging Face's `datasets`: a folder of Parquet or Arrow files, or a set by its name on the hub."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

from unnoise.domain.files import Item, suffix

HUB = "hf:"  # before the name of a set on the hub
TABLES = (".parquet", ".arrow")
SPLITS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}
NAMES = ("image", "img", "picture")  # the column of pictures, where several could be


def is_table(root: Path) -> bool:
    """Whether a path means such tables."""
    if str(root).startswith(HUB):
        return True
    walked = os.walk(root)  # by names alone: a folder of pictures has many
    return any(suffix(name) in TABLES and os.path.isfile(os.path.join(here, name)) for here, _, names in walked for name in names)


class Table:
    """The rows of all splits; its columns beside the picture are conditions, classes by their names.

    Raises:
        ValueError: Where `datasets` is not installed, the tables cannot be read, or there is no column of pictures.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.refused: dict[str, str] = {}
        self.others: Counter[str] = Counter()

    def signature(self) -> list[Any]:
        if self.root.startswith(HUB):
            return [self.root, *(f"{split} {part._fingerprint}" for split, part in self.splits.items())]
        files = sorted(path for path in Path(self.root).rglob("*") if suffix(path.name) in TABLES)
        return [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]

    def items(self) -> Iterator[Item]:
        column = self._column()
        yield "metadata.jsonl", partial(io.BytesIO, "\n".join(map(json.dumps, self._rows(column))).encode())
        for split, part in self.splits.items():
            for row in range(len(part)):
                yield self._name(split, row), partial(_open, part, row, column)

    @cached_property
    def splits(self) -> dict[str, Any]:
        """The data set of each split, by the words of this library."""
        try:
            import datasets
        except ImportError as error:
            raise ValueError(f"{self.root}: needs `datasets`; pip install 'unnoise[datasets]'") from error
        try:
            found = self._read(datasets)
        except Exception as error:  # of many libraries, and of the net
            raise ValueError(f"{self.root}: cannot be read by `datasets` ({' '.join(str(error).split())[:200]})") from error
        parts = found if isinstance(found, dict) else {"train": found}
        return {SPLITS[name]: part for name, part in parts.items() if name in SPLITS} or {"train": next(iter(parts.values()))}

    def _read(self, datasets: Any) -> Any:
        if self.root.startswith(HUB):
            return datasets.load_dataset(self.root.removeprefix(HUB))
        folder = Path(self.root)
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            return datasets.load_from_disk(self.root)
        return datasets.load_dataset(self.root)

    def _column(self) -> str:
        """The name of the column of pictures; all splits then give its bytes."""
        features = next(iter(self.splits.values())).features
        import datasets  # which has just read them

        pictures = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
        chosen = [name for name in NAMES if name in pictures] or pictures
        if not chosen:
            raise ValueError(f"{self.root}: no column of pictures; it has {', '.join(features)}")
        for split, part in self.splits.items():
            self.splits[split] = part.cast_column(chosen[0], datasets.Image(decode=False))
        return chosen[0]

    def _rows(self, column: str) -> Iterator[dict[str, Any]]:
        for split, part in self.splits.items():
            kinds = {name: kind for name, kind in part.features.items() if name != column}
            plain = [name for name, kind in kinds.items() if hasattr(kind, "names") or getattr(kind, "dtype", "") != "binary"]
            for row, values in enumerate(part.select_columns(plain)) if plain else ():
                said = {name: _value(kinds[name], value) for name, value in values.items()}
                yield {**{name: value for name, value in said.items() if value is not None}, "file_name": self._name(split, row)}

    def _name(self, split: str, row: int) -> str:
        alone = len(self.splits) == 1
        return f"{row:09d}" if alone else f"{split}/{row:09d}"


def _value(kind: Any, value: Any) -> Any:
    """A class by its name, several of them as a list of names; numbers, text and lists as they are."""
    inner = getattr(kind, "feature", None)
    if inner is not None and hasattr(inner, "int2str") and isinstance(value, list):
        return [inner.int2str(one) for one in value if one >= 0]
    if hasattr(kind, "int2str") and isinstance(value, int):
        return kind.int2str(value) if value >= 0 else None
    return value if isinstance(value, int | float | str | list) else None


def _open(part: Any, row: int, column: str) -> BinaryIO:
    found = part[row][column]
    return io.BytesIO(found["bytes"]) if found["bytes"] is not None else open(found["path"], "rb")
