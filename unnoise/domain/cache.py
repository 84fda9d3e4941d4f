"""Pictures decoded once, into a memory-mapped array: a folder of the cache for each set in each form.

`x.npy` (N, C, H, W) at the depth of the source, `tables.npz` (splits, fingerprints and conditions), `names` and `meta.json`. Of
shards that would take more than $UNNOISE_CACHE_LIMIT there is `places.npy` in place of the array: they are decoded each time.
The key is a digest of the list of files (name, size, times) and of the form asked for. A folder is built
beside its place and renamed into it, so that it is whole or not there, and of two that build at once both succeed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np

from unnoise.domain.archive import source
from unnoise.domain.base import SPLITS, content_digest, fingerprint
from unnoise.domain.decode import Header, picture
from unnoise.domain.files import Source, conditions, printable, split_of
from unnoise.domain.form import DEPTHS, TOP, Form, common_channels
from unnoise.domain.inplace import InPlace
from unnoise.domain.inplace import limit as cache_limit
from unnoise.domain.shards import Shards
from unnoise.domain.survey import Broken, Survey, each, refuse_broken, refuse_nothing, survey

VERSION = 2  # of what decoding gives: a new one leaves the old cache aside
PLACES = "places.npy"
DAY = 86_400
NONE = len(SPLITS)  # the split of what is in none

log = logging.getLogger("unnoise.domain")


@dataclass(frozen=True)
class Wish:
    """What a user asks of the form of a set; None is decided by the files."""

    size: tuple[int, int] | None
    channels: int | None
    resize: str
    crop: str
    background: str


@dataclass(frozen=True)
class Pack:
    """A set of decoded pictures: `x` (N, C, H, W), its tables `split` and `print` (N,), and each condition's column (N, ...)."""

    x: np.ndarray | InPlace
    meta: dict[str, Any]
    tables: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    folder: Path

    def names(self) -> list[str]:
        """Of the pictures, in the order of the tables."""
        return (self.folder / "names").read_bytes().decode("utf-8", "surrogateescape").split("\0")


def cache_folder() -> Path:
    """Where decoded pictures are kept: $UNNOISE_CACHE, or ~/.cache/unnoise."""
    return Path(os.environ.get("UNNOISE_CACHE") or "~/.cache/unnoise").expanduser()


def pack(root: str, wish: Wish, limit: float, found: Survey | None = None) -> Pack:
    """The decoded pictures of a folder or archive, from the cache or else into it.

    Args:
        root: The folder or archive.
        wish: The form that is asked for.
        limit: The share of broken files above which the set is refused.
        found: What the headers say, where they have been read.

    Raises:
        ValueError: For no pictures, sizes that differ where none is asked for, or more broken files than `limit`.
        OSError: If the cache cannot hold them.
    """
    files = source(Path(root).expanduser())
    asked = json.dumps([VERSION, asdict(wish), files.signature()])
    key = hashlib.sha256(asked.encode()).hexdigest()[:32]
    folder = cache_folder() / "pictures" / key
    if (kept := _load(folder, files)) is None:
        _build(folder, files, root, wish, limit, found)
        kept = _load(folder, files)
        if kept is None:
            raise OSError(f"{folder}: the cache was changed while it was written; try again")
        for name, reason in kept.meta["broken"].items() if found is None else ():  # else the caller lists them
            log.warning("%s: %s", printable(name), reason)
    refuse_broken(kept.meta["broken"], kept.meta["whole"], root, limit)
    return kept


def _load(folder: Path, files: Source) -> Pack | None:
    try:
        meta = json.loads((folder / "meta.json").read_text())
        array = folder / (PLACES if meta.get("in_place") else "x.npy")
        if array.stat().st_size != meta["bytes"]:
            raise ValueError("cut short")
        with np.load(folder / "tables.npz", allow_pickle=False) as stored:
            tables = dict(stored)
        x: np.ndarray | InPlace = np.load(array, mmap_mode="r", allow_pickle=False)
        if isinstance(files, Shards) and meta.get("in_place"):
            x = InPlace(files.paths, x, Form(**meta["form"]))  # type: ignore[arg-type]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, OSError, EOFError, BadZipFile):  # damaged: it can always be built again
        shutil.rmtree(folder, ignore_errors=True)
        return None
    columns = {key.removeprefix("cond "): tables.pop(key) for key in list(tables) if key.startswith("cond ")}
    return Pack(x, meta, tables, columns, folder)


def _build(folder: Path, files: Source, root: str, wish: Wish, limit: float, found: Survey | None) -> None:
    found = survey(files) if found is None else found
    refuse_nothing(found, files, root)
    refuse_broken(found.broken, len(found.headers), root, limit)
    form = decide(list(found.headers.values()), wish, root)
    names = sorted(found.headers)
    size = len(names) * _bytes(form)
    in_place = isinstance(files, Shards) and size > cache_limit()
    partial = _partial(folder, 0 if in_place else size)
    try:
        results = _decode(files, names, form, Path(os.devnull) if in_place else partial / "x.npy")
        if isinstance(files, Shards) and in_place:
            np.save(partial / PLACES, np.array([files.places[name] for name in names], np.int64))
        broken = found.broken | {name: result.reason for name, result in results.items() if isinstance(result, Broken)}
        refuse_broken(broken, len(found.headers) + len(found.broken) - len(broken), root, limit)
        _describe(partial, names, form, found, results, broken)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / "meta.json").exists():
                raise  # else another process was first, with the same content
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def decide(headers: list[Header], wish: Wish, root: str) -> Form:
    """The form of a set: the size that is asked for, or the one that all files have; the channels asked for, or 3 where grey and
    colour are mixed, or what most files have; the deepest depth. ValueError where sizes differ and none is asked for.
    """
    sizes = Counter((head.height, head.width) for head in headers)
    (height, width), n = sizes.most_common(1)[0]
    if wish.size is None and len(sizes) > 1:
        raise ValueError(
            f"{root}: pictures of {len(sizes)} sizes (most often {width} x {height}: {n} of {len(headers)}); say which "
            f"size they shall have, such as size = {min(height, width)}"
        )
    height, width = wish.size or (height, width)
    common = common_channels([head.channels for head in headers])
    depth = max((head.depth for head in headers), key=DEPTHS.index)
    how = {"resize": wish.resize, "crop": wish.crop, "background": wish.background}
    return Form(height, width, wish.channels or common, depth, wish.channels == 4 and common != 4, **how)


Result = tuple[int, float, float]  # fingerprint, least and greatest value


def _decode(files: Source, names: list[str], form: Form, path: Path) -> dict[str, Result | Broken]:
    """Every picture into its row of the array at `path`."""
    rows = {name: row for row, name in enumerate(names)}
    shape = (len(names), form.channels, form.height, form.width)
    lock = threading.Lock()
    with path.open("wb") as out:  # written, not mapped: a full disk raises here and would kill a process that maps
        description = {"descr": np.dtype(form.depth).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, description)
        start = out.tell()

        def work(name: str, file: BinaryIO) -> Result:
            content = file.read()
            pixels = picture(io.BytesIO(content), form)
            with lock:  # a place in the array, or nowhere
                out.seek(start + rows[name] * pixels.nbytes)
                out.write(pixels.tobytes())
            return fingerprint(content), float(pixels.min()), float(pixels.max())

        results = dict(each((item for item in files.items() if item[0] in rows), work))
        if path.is_file():
            out.truncate(start + len(names) * _bytes(form))
            out.flush()
            os.fsync(out.fileno())
    return results


def _describe(
    folder: Path,
    names: list[str],
    form: Form,
    found: Survey,
    results: dict[str, Result | Broken],
    broken: dict[str, str],
) -> None:
    """Writes all that stands beside the array. A row whose picture is broken, or outside the splits, is in none."""
    splits, below = split_of(names)
    conds, columns, notes = conditions(names, below, found.metadata)
    whole = {name: result for name, result in results.items() if not isinstance(result, Broken)}
    prints = np.array([whole[name][0] if name in whole else 0 for name in names], np.uint64)
    numbers = [SPLITS.index(split) if split and name in whole else NONE for name, split in zip(names, splits, strict=True)]
    if outside := splits.count(None):
        notes.append(f"{outside} pictures lie outside train/, val/ and test/: left out")
    if (n := sum(head.alpha for head in found.headers.values())) and not form.alpha:
        notes.append(f"{n} pictures have alpha: composited on {form.background} (channels = 4 keeps it)")
    if len(depths := {head.depth for head in found.headers.values()}) > 1:
        notes.append(f"depths are mixed ({', '.join(sorted(depths))}): all brought to {form.depth}")
    low, high = min(result[1] for result in whole.values()), max(result[2] for result in whole.values())
    tables = {"split": np.array(numbers, np.int8), "print": prints}
    tables |= {f"cond {key}": column for key, column in columns.items()}
    np.savez(folder / "tables.npz", **tables)  # type: ignore[arg-type]
    (folder / "names").write_bytes("\0".join(names).encode("utf-8", "surrogateescape"))
    array = next(folder.glob("*.npy"))
    meta = {
        "bytes": array.stat().st_size,
        "whole": len(whole),
        "form": asdict(form),
        "range": _range(form.depth, low, high),
        "conds": {key: asdict(condition) for key, condition in conds.items()},
        "notes": notes,
        "broken": broken,
        "digest": content_digest(prints, columns),
        **({"in_place": True} if array.name == PLACES else {}),
    }
    (folder / "meta.json").write_text(json.dumps(meta))


def _range(depth: str, low: float, high: float) -> tuple[float, float]:
    """The values that become -1 and 1: of floats [0, 1] or [-1, 1] if that holds all, else least and greatest."""
    if depth != "float32":
        return 0, TOP[depth]
    for nice in ((0, 1), (-1, 1)):
        if nice[0] <= low and high <= nice[1]:
            return nice
    return low, high if high > low else low + 1


def _bytes(form: Form) -> int:
    return form.height * form.width * form.channels * np.dtype(form.depth).itemsize


def _partial(folder: Path, needed: int) -> Path:
    """A new folder beside that of the cache, where `needed` bytes fit; what dead processes left there a day ago is swept."""
    above = folder.parent
    try:
        above.mkdir(parents=True, exist_ok=True)
        for stray in above.glob("*.partial-*"):
            if time.time() - stray.stat().st_mtime > DAY:
                shutil.rmtree(stray, ignore_errors=True)
        free = shutil.disk_usage(above).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"the cache needs {needed} bytes and {free} are free; set UNNOISE_CACHE", str(above))
        return Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=above))
    except PermissionError as error:
        raise ValueError(f"{above}: the cache cannot be written; set UNNOISE_CACHE to a folder that can") from error
