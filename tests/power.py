"""A disk that loses what was not synced: what a program does to files is recorded, and replayed as a power cut would leave it.

The model is harsher than common file systems. Of the data of a file only what was there at its last fsync is sure; of later
writes it may keep all, a part, or garbage of the right size. Of the names in a folder (made, renamed, removed) only those before
the folder's last fsync are sure; of later changes each folder keeps a first part of its own, independent of other folders.
"""

from __future__ import annotations

import builtins
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Node:
    """A file (with what was written and what was synced) or a folder (with names)."""

    folder: bool
    data: bytes = b""
    sure: bytes | None = None


@dataclass
class Event:
    """One thing done: "name" sets (or with None removes) names in a folder; "data" is what a file holds; "sync" makes sure."""

    kind: str
    node: int
    names: list[tuple[str, int | None]] = field(default_factory=list)
    data: bytes = b""


class Recorder:
    """Writes down what happens below `root`, in order; `marks`: what had been finished before which event."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self.nodes: dict[str, int] = {self.root: 0}
        self.folders: set[int] = {0}
        self.events: list[Event] = []
        self.marks: list[tuple[int, Any]] = []
        self.count = 1

    def mark(self, what: Any) -> None:
        """The program has been told that `what` is done."""
        self.marks.append((len(self.events), what))

    def node(self, path: str) -> int:
        return self.nodes[path]

    def make(self, path: str, folder: bool) -> None:
        if path not in self.nodes:
            self.nodes[path] = self.count
            self.folders |= {self.count} if folder else set()
            self.events.append(Event("name", self.nodes[os.path.dirname(path)], [(os.path.basename(path), self.count)]))
            self.count += 1

    def written(self, path: str) -> None:
        """What the file holds by now."""
        if path in self.nodes:
            self.events.append(Event("data", self.nodes[path], data=Path(path).read_bytes()))

    def removed(self, path: str) -> None:
        self.events.append(Event("name", self.nodes[os.path.dirname(path)], [(os.path.basename(path), None)]))
        del self.nodes[path]

    def renamed(self, old: str, new: str) -> None:
        """One change, since both names are in one folder: the old or the new state, nothing between."""
        here, moved = os.path.dirname(old), self.nodes[old]
        assert here == os.path.dirname(new)
        self.events.append(Event("name", self.nodes[here], [(os.path.basename(old), None), (os.path.basename(new), moved)]))
        below = {path: node for path, node in self.nodes.items() if path == old or path.startswith(old + os.sep)}
        for path in below:
            del self.nodes[path]
        self.nodes |= {new + path[len(old) :]: node for path, node in below.items()}

    def synced(self, path: str) -> None:
        if path in self.nodes:
            if self.nodes[path] not in self.folders:
                self.written(path)
            self.events.append(Event("sync", self.nodes[path]))


@contextmanager
def recorded(root: Path) -> Iterator[Recorder]:
    """Records what Python does to files below `root`, through `open` and `os`; files are written out when synced or closed."""
    disk, real = Recorder(root), {name: getattr(os, name) for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync")}
    real_open, real_os_open = builtins.open, os.open

    def place(path: Any, dir_fd: int | None = None) -> str | None:
        text = os.fsdecode(path)
        base = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd()
        whole = os.path.normpath(os.path.join(base, text))
        return whole if whole.startswith(disk.root + os.sep) or whole == disk.root else None

    def wrapped(name: str, note: Callable[..., None]) -> Callable[..., Any]:
        def call(*paths: Any, **options: Any) -> Any:
            fds = (options.get("src_dir_fd", options.get("dir_fd")), options.get("dst_dir_fd", options.get("dir_fd")))
            places = [
                place(path, fd) for path, fd in zip(paths, fds, strict=False) if isinstance(path, str | bytes | os.PathLike)
            ]
            done = real[name](*paths, **options)
            if all(places):
                note(*places)
            return done

        return call

    def fsync(handle: int) -> None:
        real["fsync"](handle)
        if (path := place(os.readlink(f"/proc/self/fd/{handle}"))) is not None:
            disk.synced(path)

    def opened(path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        file = real_open(path, mode, *rest, **options)
        where = None if isinstance(path, int) else place(path)
        if where is not None and set(mode) & set("wax"):
            disk.make(where, folder=False)
            close = file.close

            def closing() -> None:
                close()
                if where in disk.nodes:
                    disk.written(where)

            file.close = closing  # type: ignore[method-assign]
        return file

    def os_opened(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        handle = real_os_open(path, flags, *rest, **options)
        where = place(path, options.get("dir_fd"))
        if where is not None and flags & os.O_CREAT:
            disk.make(where, folder=False)
        return handle

    patched: dict[str, Any] = {
        "mkdir": wrapped("mkdir", lambda path: disk.make(path, folder=True)),
        "rename": wrapped("rename", disk.renamed),
        "replace": wrapped("replace", disk.renamed),
        "unlink": wrapped("unlink", disk.removed),
        "rmdir": wrapped("rmdir", disk.removed),
        "fsync": fsync,
        "open": os_opened,
    }
    for name, function in patched.items():
        setattr(os, name, function)
    builtins.open = opened
    try:
        yield disk
    finally:
        builtins.open, os.open = real_open, real_os_open
        for name, function in real.items():
            setattr(os, name, function)


def cut(disk: Recorder, after: int, to: Path, draw: random.Random, syncs: bool = True) -> None:
    """Lays down at `to` what may be left when the power fails after so many events; not `syncs`: as if nothing were synced."""
    sure: dict[int, dict[str, int]] = defaultdict(dict)
    unsure: dict[int, list[list[tuple[str, int | None]]]] = defaultdict(list)
    data: dict[int, bytes] = defaultdict(bytes)
    kept: dict[int, bytes] = {}
    for event in disk.events[:after]:
        if event.kind == "name":
            unsure[event.node].append(event.names)
        elif event.kind == "data":
            data[event.node] = event.data
        elif syncs and event.node in disk.folders:
            _apply(sure[event.node], unsure.pop(event.node, []))
        elif syncs:
            kept[event.node] = data[event.node]
    for node, changes in unsure.items():
        _apply(sure[node], changes[: draw.randint(0, len(changes))])
    _lay(to, 0, disk.folders, sure, lambda node: _left(data[node], kept.get(node), draw))


def _apply(names: dict[str, int], changes: list[list[tuple[str, int | None]]]) -> None:
    for change in changes:
        for name, node in change:
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node


def _left(data: bytes, sure: bytes | None, draw: random.Random) -> bytes:
    """What a file holds afterwards: what was synced, if nothing was written since; else that, or any fate of the rest."""
    if sure == data:
        return data
    base = sure or b""
    fates = [data, base, data[: draw.randint(0, len(data))], bytes(len(data)), draw.randbytes(len(data))]
    if sure and data.startswith(sure):  # appended to: what is sure stays
        fates = [data, base, data[: draw.randint(len(sure), len(data))], sure + bytes(len(data) - len(sure))]
    return draw.choice(fates)


def _lay(to: Path, node: int, folders: set[int], names: dict[int, dict[str, int]], left: Callable[[int], bytes]) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for name, child in names.get(node, {}).items():
        if child in folders:
            _lay(to / name, child, folders, names, left)
        else:
            (to / name).write_bytes(left(child))
