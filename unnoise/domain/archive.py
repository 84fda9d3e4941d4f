"""Pictures inside a .tar, .tar.gz, .tgz or .zip, read in place and in one pass: nothing is ever extracted, so nothing slips.

Only regular members with a plain relative path are read, each up to 512 MB, all up to 1 GB plus 200 times the archive's size
(pictures hardly compress: what grows more is a bomb).
"""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from unnoise.domain.files import PICTURES, Folder, Item, Source, hidden, stamp, suffix, wanted

MAX_MEMBER = 512 * 10**6
MAX_TOTAL = 10**9
MAX_RATIO = 200
TAR = (".tar", ".tar.gz", ".tgz")
ZIP = (".zip",)
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError)


class Archive:
    """What tar and zip share: which members count, and how much is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: dict[str, str] = {}
        self.others: Counter[str] = Counter()

    def signature(self) -> list[Any]:
        return [str(self.path.resolve()), *stamp(self.path.stat())]

    def items(self) -> Iterator[Item]:
        """Each picture or metadata member and its content. ValueError for an archive that is damaged, or a bomb."""
        self.refused, self.others = {}, Counter()
        allowed = MAX_TOTAL + MAX_RATIO * self.path.stat().st_size
        seen: set[str] = set()
        try:
            for name, size, obstacle, read in self.members():
                allowed -= size
                if allowed < 0:
                    raise ValueError(f"{self.path}: unpacks to more than {MAX_RATIO} times its size; refused as a bomb")
                parts = name.removeprefix("./").split("/")
                if any(map(hidden, parts)):
                    continue
                if not wanted(name):
                    self.others[suffix(name)] += 1
                elif reason := obstacle or unsafe(name, parts, size, seen):
                    if suffix(name) in PICTURES:
                        self.refused[name] = reason
                else:
                    seen.add("/".join(parts))
                    yield "/".join(parts), partial(io.BytesIO, read())
        except DAMAGED as error:
            raise ValueError(f"{self.path}: a damaged archive ({error}); fetch or pack it again") from error

    def members(self) -> Iterator[tuple[str, int, str, Callable[[], bytes]]]:
        """Name, size, why it cannot be read ("" if it can) and how to read it; folders left out."""
        raise NotImplementedError


class Tar(Archive):
    def members(self) -> Iterator[tuple[str, int, str, Callable[[], bytes]]]:
        with tarfile.open(self.path) as archive:  # only ever forwards: going back in gzip means starting again
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # or it would come to hold every member
                if not member.isdir():
                    obstacle = "" if member.isreg() and not member.issparse() else "a link or special member"
                    yield member.name, member.size, obstacle, partial(_read_tar, archive, member)


class Zip(Archive):
    def members(self) -> Iterator[tuple[str, int, str, Callable[[], bytes]]]:
        with zipfile.ZipFile(self.path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    link = member.external_attr >> 28 not in (0, 0o10)  # the file type of Unix, if it says one
                    obstacle = "encrypted" if member.flag_bits & 1 else "a link or special member" if link else ""
                    yield member.filename, member.file_size, obstacle, partial(_read_zip, archive, member)


def source(root: Path) -> Source:
    """The folder, archive or array at `root`. ValueError, in one line, for anything else."""
    from unnoise.domain.arrays import ARRAYS, Arrays
    from unnoise.domain.shards import Shards, shards
    from unnoise.domain.tables import HUB, Table, is_table

    expected = (
        f"expected a folder of pictures, a {', '.join(TAR + ZIP)} of one, a .npy or .npz of pictures, shards such as "
        f"'part-{{000..009}}.tar' or a folder of them, a folder of Parquet or Arrow files, or {HUB}OWNER/NAME"
    )
    if (found := shards(root)) is not None:
        return Shards(found)
    if is_table(root):
        return Table(str(root))
    if root.is_dir():
        return Folder(root)
    if not root.exists():
        raise ValueError(f"{root}: no such folder or archive; {expected}")
    if root.is_file() and root.name.lower().endswith(TAR):
        return Tar(root)
    if root.is_file() and root.name.lower().endswith(ZIP):
        return Zip(root)
    if root.is_file() and suffix(root.name) in ARRAYS:
        return Arrays(root)
    raise ValueError(f"{root} is a single file; {expected}")


def unsafe(name: str, parts: list[str], size: int, seen: set[str]) -> str:
    """Why a member is not read; "" if nothing speaks against it."""
    if name.startswith(("/", "\\")) or ".." in parts or "\\" in name or ":" in parts[0] or "\0" in name or "" in parts:
        return "a path that leads out of the archive"
    if size > MAX_MEMBER:
        return f"{size} bytes, more than {MAX_MEMBER}"
    return "a second member of that name" if "/".join(parts) in seen else ""


def _read_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _read_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(member) as file:
            return file.read(member.file_size)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError):
        return b""  # one broken member: an empty file, which is listed
