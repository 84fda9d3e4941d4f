"""Files of strangers, read with suspicion: names that stay in their folder, JSON of bounded cost, weights in one or many files.

Whatever is wrong is said in one line before anything of that size is allocated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from unnoise.train import read_weights
from unnoise.zoo.pickled import read_pickled

__all__ = ["inside", "json_file", "readable", "state_dict", "text_file"]

VALUE = 72  # bytes that a value of JSON takes in memory, on the average at most
ROOM = 40 << 20  # bytes that any file may take
SHARDS = 1000


def inside(folder: Path, name: str) -> Path:
    """The file of that name in a folder, by a link at most within it; a snapshot of the hub links to its cache.

    Raises:
        ValueError: If the name leads out of the folder, or there is no such file.
    """
    home = folder.resolve()
    homes = [home, home.parents[1] / "blobs"] if home.parent.name == "snapshots" else [home]
    path = folder / name
    real = path.resolve()
    if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts or not any(real.is_relative_to(h) for h in homes):
        raise ValueError(f"{name!r} leads out of {folder}")
    if not real.is_file():
        raise ValueError(f"{path}: no such file")
    return path


def json_file(path: Path, most: int = 64 << 20) -> dict[str, Any]:
    """An object from a JSON file.

    Raises:
        ValueError: If it is none, names a key twice, or would take much more memory than the file is large.
    """
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path}: {size:,} bytes; expected {most:,} at most")
    text = path.read_bytes()
    if VALUE * sum(text.count(mark) for mark in (b",", b"[", b"{", b":")) > 2 * size + ROOM:
        raise ValueError(f"{path}: too many values for a file of {size:,} bytes")
    try:
        found = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error or 'nested too deeply'}); the file is damaged") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object, given {type(found).__name__}")
    return found


def text_file(path: Path, most: int = 1 << 18) -> str:
    """A text; ValueError if it is longer than `most` bytes or none."""
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{path}: {size:,} bytes; expected {most:,} at most")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text of UTF-8; the file is damaged") from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What goes wrong inside with values of a stranger's file, in one line: of another kind, too large, nested too deeply.

    Raises:
        ValueError: Then.
    """
    try:
        yield
    except (TypeError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError, MemoryError, RuntimeError) as error:
        said = " ".join(str(error).split())[:160]
        raise ValueError(
            f"{path}: a value that is not of its kind ({type(error).__name__}: {said}); the file is damaged"
        ) from error


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of which no key is given twice; for `json.loads`."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the name {key!r} is given twice")
        found[key] = value
    return found


def state_dict(folder: Path, stem: str, pickles: bool = False) -> dict[str, Tensor]:
    """The weights `stem` in a folder: one safetensors file, several with an index, or with leave a .bin.

    Args:
        folder: Where they are.
        stem: The file's name without its ending.
        pickles: A .bin may be read (by `read_pickled`), where there is nothing else.

    Raises:
        ValueError: If there are none, or they are not whole, not finite, or not in the folder.
    """
    if (folder / f"{stem}.safetensors").exists():
        return read_weights(inside(folder, f"{stem}.safetensors"))[0]
    if (folder / f"{stem}.safetensors.index.json").exists():
        return _shards(folder, f"{stem}.safetensors.index.json")
    if not (folder / f"{stem}.bin").exists():
        raise ValueError(f"{folder} has no {stem}.safetensors")
    if not pickles:
        raise ValueError(f"{folder} has its weights as a pickle alone, {stem}.bin; `unnoise import {folder} RUN` reads it safely")
    return read_pickled(inside(folder, f"{stem}.bin"))


def _shards(folder: Path, index: str) -> dict[str, Tensor]:
    places = json_file(inside(folder, index)).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise ValueError(f"{folder / index}: expected weight_map, the file of each tensor")
    names = sorted(set(places.values()))
    if len(names) > SHARDS:
        raise ValueError(f"{folder / index}: {len(names)} files; expected {SHARDS} at most")
    found: dict[str, Tensor] = {}
    for name in names:
        if not name.endswith(".safetensors"):
            raise ValueError(f"{folder / index} names {name!r}; expected .safetensors files")
        part = read_weights(inside(folder, name))[0]
        if wrong := sorted(set(part) ^ {tensor for tensor, place in places.items() if place == name}):
            raise ValueError(f"{folder / name}: {wrong[0]!r} is in the file or in {index}, but not in both")
        found |= part
    return found
