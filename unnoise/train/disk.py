"""Files that are whole or absent: what a killed process or a full disk must not spoil.

Every file is written under another name, synced, renamed, and its folder synced: a reader sees the old one or the new
one. A scratch name ends in `.tmp-<pid>`; whatever bears one was left by a killed process and may be swept.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

SCRATCH = ".tmp-"


def scratch(path: Path) -> Path:
    """The name under which `path` is prepared: a neighbour, so that the rename stays within one file system."""
    return path.with_name(f"{path.name}{SCRATCH}{os.getpid()}")


def sweep(folder: Path) -> None:
    """Remove the scratch files and folders that a killed process left in `folder`."""
    for stray in folder.glob(f"*{SCRATCH}*"):
        if stray.is_dir() and not stray.is_symlink():
            shutil.rmtree(stray)
        else:
            stray.unlink()


def make(folder: Path) -> None:
    """Make a folder and those above it that are missing, so that their names are durable too."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (files are synced as they are written)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, chunks: Iterable[bytes | memoryview]) -> dict[str, str | int]:
    """Write and sync one file; return its `sha256` and `size` as they were in memory, before the disk had them."""
    digest, size = hashlib.sha256(), 0
    with open(path, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += memoryview(chunk).nbytes
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": digest.hexdigest(), "size": size}


def replace(path: Path, chunks: Iterable[bytes | memoryview]) -> dict[str, str | int]:
    """Write `path` so that at every moment it is the old file or the new one; return sha256 and size."""
    draft = scratch(path)
    try:
        facts = write(draft, chunks)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return facts


def digest(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def demand_room(folder: Path, needed: int) -> None:
    """Raise the one-line OSError (ENOSPC) unless `needed` bytes are free where `folder` lies."""
    if shutil.disk_usage(folder).free < needed:
        raise _full(folder, needed)


@contextmanager
def room(folder: Path, needed: int) -> Iterator[None]:
    """Run a block that writes `needed` bytes below `folder`: a full disk is told before it, and plainly during it.

    Raises:
        OSError: (ENOSPC) with path, needed and free bytes. Libraries may report a full disk as an error of their own
            and keep the cause in `__context__`, or only in their text: those are found too.
    """
    demand_room(folder, needed)
    try:
        yield
    except Exception as error:
        if _is_full(error):
            raise _full(folder, needed) from error
        raise


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _full(folder: Path, needed: int) -> OSError:
    free = shutil.disk_usage(folder).free
    return OSError(errno.ENOSPC, f"disk full: {folder} needs {needed:,} bytes, {free:,} are free; make room and repeat")
