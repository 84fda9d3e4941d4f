"""Pictures in many plain .tar files, as WebDataset packs them: read where they lie, in any order, without unpacking.

A sample is what shares a name up to the first dot: `000123.png`, and beside it `000123.cls` (its class) or `000123.json`
(conditions by name). One pass over the headers finds where each begins; from then on a picture is one read at its place, so that
an epoch is one permutation of all, not a shuffle of neighbours.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from unnoise.domain.archive import DAMAGED, unsafe
from unnoise.domain.files import PICTURES, Item, class_names, hidden, stamp, suffix

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
BESIDE = (".cls", ".json")  # what is said of a picture
BESIDE_BYTES = 10_000_000


class Shards:
    """The pictures of several .tar files.

    Raises:
        ValueError: For a shard that is missing, compressed or damaged.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.refused: dict[str, str] = {}
        self.others: Counter[str] = Counter()
        for path in paths:
            if not path.is_file():
                raise ValueError(f"{path}: no such shard")
        self.places: dict[str, tuple[int, int, int]] = {}  # by name: number of the shard, offset, size
        self.rows: list[dict[str, Any]] = []

    def signature(self) -> list[Any]:
        return [[str(path.resolve()), *stamp(path.stat())] for path in self.paths]

    def items(self) -> Iterator[Item]:
        if not self.places:
            self.index()
        if self.rows:
            text = "\n".join(json.dumps(row) for row in self.rows)
            yield "metadata.jsonl", partial(io.BytesIO, text.encode())
        for name in self.places:
            yield name, partial(self.open, name)

    def open(self, name: str) -> BinaryIO:
        """The bytes of one picture, by one read."""
        shard, offset, size = self.places[name]
        return read_at(self.paths[shard], offset, size)

    def index(self) -> None:
        """Finds the place of every picture and what is said of it."""
        beside: dict[str, dict[str, Any]] = {}
        keys: dict[str, str] = {}
        for number, path in enumerate(self.paths):
            try:
                for name, offset, size, found in self._members(path):
                    named = _named(path, name, len(self.paths) > 1)
                    if found is None:
                        self.places[named] = (number, offset, size)
                        keys[named] = f"{number}/{_key(name)}"
                    else:
                        known = beside.setdefault(f"{number}/{_key(name)}", {})
                        # A .cls is the class, whatever a .json says.
                        known.update(found if suffix(name) == ".cls" else {k: v for k, v in found.items() if k not in known})
            except (tarfile.ReadError, *DAMAGED) as error:
                raise ValueError(
                    f"{path}: not a plain .tar file, or damaged ({error}); shards are read in place: unpack .gz"
                ) from error
        labels = {key: row["label"] for key, row in beside.items() if type(row.get("label")) is int}
        for (key, _), label in zip(labels.items(), class_names(list(labels.values())), strict=True):
            beside[key]["label"] = label
        self.rows = [{**beside[key], "file_name": name} for name, key in keys.items() if key in beside]

    def _members(self, path: Path) -> Iterator[tuple[str, int, int, dict[str, Any] | None]]:
        """Name, offset and size of each picture; of what stands beside one, its content too."""
        seen: set[str] = set()
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # or it would come to hold every member
                name, kind = member.name.removeprefix("./"), suffix(member.name)
                parts = name.split("/")
                if member.isdir() or any(map(hidden, parts)):
                    continue
                if kind not in PICTURES and kind not in BESIDE:
                    self.others[kind] += 1
                    continue
                reason = "" if member.isreg() and not member.issparse() else "a link or special member"
                if reason := reason or unsafe(name, parts, member.size, seen):
                    if kind in PICTURES:
                        self.refused[f"{path.name}:{name}"] = reason
                    continue
                seen.add(name)
                said = None
                if kind in BESIDE:
                    content = read_at(path, member.offset_data, min(member.size, BESIDE_BYTES)).read()
                    said = _said(f"{path}: {name}", kind, content)
                yield name, member.offset_data, member.size, said


def shards(root: Path) -> list[Path] | None:
    """The shards that a path means: `{000..009}` and `{a,b}` in it, or a folder of .tar files; None if it means none."""
    if BRACES.search(str(root)):
        return [Path(path) for path in expanded(str(root))]
    if not root.is_dir():
        return None
    found = sorted(path for path in root.iterdir() if not hidden(path.name))
    tars = [path for path in found if suffix(path.name) == ".tar" and path.is_file()]
    if not tars or any(path.is_dir() or suffix(path.name) in PICTURES for path in found):
        return None
    return tars


def expanded(pattern: str) -> list[str]:
    """`a-{08..10}.tar` -> a-08.tar, a-09.tar, a-10.tar; `{x,y}` -> x, y."""
    parts: list[list[str]] = []
    end = 0
    for match in BRACES.finditer(pattern):
        first, last, listed = match.groups()
        numbers = range(int(first), int(last) + 1) if listed is None else ()
        parts += [[pattern[end : match.start()]], listed.split(",") if listed else [str(n).zfill(len(first)) for n in numbers]]
        end = match.end()
    return ["".join(one) for one in itertools.product(*parts, [pattern[end:]])]


def read_at(path: Path, offset: int, size: int) -> BinaryIO:
    """So many bytes of a file from there, as a file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return io.BytesIO(os.pread(handle, size, offset))
    finally:
        os.close(handle)


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]


def _named(path: Path, name: str, several: bool) -> str:
    """The name of a picture among those of all shards; its folders, which may be classes, stay in front."""
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}{path.stem}:{base}" if several else name


def _said(where: str, kind: str, content: bytes) -> dict[str, Any]:
    """What stands in a .cls or .json: conditions by name; nested objects are none."""
    try:
        if kind == ".cls":
            text = content.decode().strip()
            return {"label": int(text) if text.lstrip("-").isdecimal() else text}
        found = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from error
    if not isinstance(found, dict):
        found = {"label": found} if isinstance(found, int | str) else {}
    plain = {key: value for key, value in found.items() if isinstance(value, int | float | str | list)}
    return {key: value for key, value in plain.items() if key not in ("file_name", "x")}
