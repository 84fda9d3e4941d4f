"""Where the pictures lie: a folder, walked once; what their names and metadata say of splits and conditions."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

import numpy as np

from unnoise.condition import Condition

PICTURES = frozenset(
    [".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".npy"]
)
METADATA = ("metadata.csv", "metadata.jsonl", "dataset.json")
FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
MAX_CLASSES = 1000
HELD_OUT_FROM = 20  # pictures: fewer are all trained on

Item = tuple[str, Callable[[], BinaryIO]]  # its name below the root, with "/", and how to open it


class Source(Protocol):
    """Files by name, read in one pass, in an order that does not change."""

    refused: dict[str, str]  # names that look like pictures and are never opened, and why; whole once items() ran
    others: Counter[str]  # how many files of other kinds, by suffix; likewise

    def signature(self) -> list[Any]:
        """Changes when the files change; cheap."""
        ...

    def items(self) -> Iterator[Item]: ...


class Folder:
    """All regular files below a folder, links followed (each folder once), names that begin with a dot left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.refused: dict[str, str] = {}
        self.others: Counter[str] = Counter()
        self.files = sorted(self._walk(str(root), "", set()))

    def signature(self) -> list[Any]:
        return [str(self.root.resolve()), *self.files, *sorted(self.refused.items())]

    def items(self) -> Iterator[Item]:
        for name, *_ in self.files:
            yield name, partial(_open, os.path.join(self.root, name))

    def _walk(self, folder: str, below: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, int, int, int]]:
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:
            return
        seen.add((here.st_dev, here.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if hidden(entry.name):
                    continue
                name = below + entry.name
                try:
                    found = entry.stat()
                except OSError:
                    self._refuse(name, "a link that leads nowhere" if entry.is_symlink() else "cannot be read")
                    continue
                if stat.S_ISDIR(found.st_mode):
                    yield from self._walk(entry.path, name + "/", seen)
                elif not stat.S_ISREG(found.st_mode):
                    self._refuse(name, "not a regular file")
                elif wanted(name):
                    yield name, *stamp(found)
                else:
                    self.others[suffix(name)] += 1

    def _refuse(self, name: str, reason: str) -> None:
        if suffix(name) in PICTURES:
            self.refused[name] = reason


def _open(path: str) -> BinaryIO:
    return open(path, "rb")


def stamp(found: os.stat_result) -> tuple[int, int, int]:
    """What changes with a file: its size and times (unpacking sets the time of writing, never that of change)."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def hidden(name: str) -> bool:
    return (name.startswith(".") and not name.startswith("..")) or name == "__MACOSX"


def wanted(name: str) -> bool:
    return suffix(name) in PICTURES or is_metadata(name)


def is_metadata(name: str) -> bool:
    return PurePosixPath(name).name in METADATA


def printable(name: str) -> str:
    """A file's name on one line, whatever bytes it holds."""
    whole = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole)


def split_of(names: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """The split that each name's top folder says, and the name below it.

    A folder that alone holds everything is stepped into. Then `train/` makes `train/`, `val/` (`valid/`, `validation/`) and
    `test/` splits, and what lies outside them belongs to none (None); without it, all is "train".
    """
    parts = [name.split("/") for name in names]
    while (tops := {part[0] for part in parts}) and len(tops) == 1 and tops != {"train"} and min(map(len, parts)) > 2:
        parts = [part[1:] for part in parts]
    if not any(part[0] == "train" and len(part) > 1 for part in parts):
        return ["train"] * len(parts), ["/".join(part) for part in parts]
    inside = [FOLDERS.get(part[0]) if len(part) > 1 else None for part in parts]
    return inside, ["/".join(part[1:] if split else part) for part, split in zip(parts, inside, strict=True)]


def held_out(prints: np.ndarray, share: float) -> np.ndarray:
    """Which items are kept from training, (n,): those whose fingerprint is below `share` of all fingerprints; at least one of 20.

    It depends on each content alone, so that equal files fall together and a set that grows keeps its parts.
    """
    if not share or len(prints) < HELD_OUT_FROM:
        return np.zeros(len(prints), bool)
    return prints <= max(share * 2.0**64, float(prints.min()))


def conditions(
    names: Sequence[str], below: Sequence[str], metadata: Mapping[str, bytes]
) -> tuple[dict[str, Condition], dict[str, np.ndarray], list[str]]:
    """What folders and metadata say of each picture: the conditions, a column of values each, and notes on what was left out.

    Args:
        names: Of the pictures, as in the source.
        below: The same without the split's folder; the first folder in it is the class `label`.
        metadata: The content of each metadata file, by name.

    Strings become classes (sorted; from 2 to 1000 of them, and two pictures each on average), lists of strings words (at most
    1000; in a CSV they stand as `red|round`), numbers and lists of numbers stay what they are, what is missing becomes the null.
    A metadata column `label` beside class folders makes theirs `folder`.
    """
    rows, notes = _rows(names, metadata)
    found: dict[str, list[Any]] = {key: [row.get(key) for row in rows] for key in sorted({k for r in rows for k in r})}
    folders = [name.split("/")[0] if "/" in name else None for name in below]
    if len(set(folders)) > 1:
        found["folder" if "label" in found else "label"] = folders
    conds, columns = {}, {}
    for key, values in found.items():
        if key == "x":
            raise ValueError("metadata: a column cannot be named 'x'; rename it")
        enough = MAX_CLASSES if values is folders else sum(value is not None for value in values) / 2
        if made := _condition(values, enough):
            conds[key], columns[key] = made
        else:
            notes.append(f"column {key!r} is no condition: {len(set(map(repr, values)))} values for {len(names)} pictures")
    return conds, columns, notes


def _rows(names: Sequence[str], metadata: Mapping[str, bytes]) -> tuple[list[dict[str, Any]], list[str]]:
    rows: dict[str, dict[str, Any]] = {name: {} for name in names}
    notes = []
    for file, content in sorted(metadata.items()):
        folder, hits, misses = file.rpartition("/")[0], 0, 0
        for row in _read_metadata(file, content):
            where = row.pop("file_name")
            name = os.path.normpath(f"{folder}/{where}".lstrip("/")).replace(os.sep, "/")
            if name in rows:
                rows[name] |= {key: value for key, value in row.items() if key and value not in (None, "")}
                hits += 1
            else:
                misses += 1
        if misses and not hits:
            raise ValueError(f"{file}: none of its {misses} file names is a picture; expected names relative to its folder")
        if misses:
            notes.append(f"{file}: {misses} of {hits + misses} rows name no picture that could be read")
    return list(rows.values()), notes


def _read_metadata(file: str, content: bytes) -> list[dict[str, Any]]:
    try:
        text = content.decode("utf-8-sig")
        if file.endswith(".csv"):
            rows: list[Any] = _typed(list(csv.DictReader(io.StringIO(text, newline=""))))
        elif file.endswith(".json"):
            rows = _labels(file, json.loads(text))
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: {error}") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise ValueError(f"{file}, row {number}: expected a column file_name")
    return rows


def _labels(file: str, told: Any) -> list[dict[str, Any]]:
    """The rows of a dataset.json as EDM and StyleGAN have it, {"labels": [[file, class], ...]}; none of another JSON file."""
    labels = told.get("labels") if isinstance(told, dict) else None
    if not labels:
        return []
    if not isinstance(labels, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in labels):
        raise ValueError(f'{file}: expected "labels": [[file, class], ...]')
    names, values = zip(*labels, strict=True)
    whole = all(type(value) is int for value in values)
    return [{"file_name": n, "label": v} for n, v in zip(names, class_names(values) if whole else values, strict=True)]


def class_names(numbers: Sequence[int]) -> list[str]:
    """Numbers of classes as names of one length, whose order is that of the numbers."""
    width = max((len(str(number)) for number in numbers), default=0)
    return [f"{number:0{width}d}" for number in numbers]


def _typed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """CSV holds text only: a column is of numbers if all that stands in it is, and of words if "|" parts some of it."""
    keys = {key for row in rows for key in row if key and key != "file_name"}
    numbers = {key for key in keys if all(_is_number(row.get(key)) for row in rows)}
    words = {key for key in keys if any("|" in (row.get(key) or "") for row in rows)}

    def typed(key: str, text: Any) -> Any:
        if not text or key not in numbers | words:
            return text
        return float(text) if key in numbers else [word.strip() for word in text.split("|") if word.strip()]

    return [{key: typed(key, text) for key, text in row.items() if key} for row in rows]


def _is_number(text: str | None) -> bool:
    try:
        return not text or float(text) is not None
    except ValueError:
        return False


def _condition(values: list[Any], enough: float) -> tuple[Condition, np.ndarray] | None:
    """A condition and its column; None where there would be more than `enough` classes, or one."""
    present = [value for value in values if value is not None]
    if all(_is_real(value) for value in present):
        column = np.array([np.nan if value is None else value for value in values], np.float32)
        return Condition(), np.where(np.isfinite(column), column, np.float32(np.nan))
    lists = all(isinstance(value, list) and all(map(_is_real, value)) for value in present)
    if lists and len(width := {len(value) for value in present}) == 1 and 0 not in width:
        size = width.pop()
        table = np.array([[np.nan] * size if value is None else value for value in values], np.float32)
        return Condition(shape=(size,)), table
    if present and all(isinstance(value, list) and all(isinstance(word, str) for word in value) for value in present):
        return _words(values)
    texts = [None if v is None else str(v).lower() if isinstance(v, bool) else printable(str(v)) for v in values]
    classes = sorted({text for text in texts if text is not None})
    if len(classes) < 2 or len(classes) > min(enough, MAX_CLASSES):
        return None
    number = {name: i for i, name in enumerate(classes)}
    column = np.array([len(classes) if text is None else number[text] for text in texts], np.int64)
    return Condition(classes=tuple(classes)), column


def _words(values: list[list[str] | None]) -> tuple[Condition, np.ndarray] | None:
    """Which words hold of each picture, (N, number of words), NaN where nothing is known; None: there are none, or too many."""
    rows = [None if value is None else {printable(word) for word in value} for value in values]
    words = sorted(set().union(*(row for row in rows if row)))
    if not 1 <= len(words) <= MAX_CLASSES:
        return None
    table = np.array([[np.nan] * len(words) if row is None else [word in row for word in words] for row in rows], np.float32)
    return Condition(shape=(len(words),), words=tuple(words)), table


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
