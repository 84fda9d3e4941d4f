"""Looking at every file, several at a time: what is in a folder or archive, and what is broken."""

from __future__ import annotations

import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, NamedTuple, TypeVar

from unnoise.domain.decode import Header, MissingExtra, header, look
from unnoise.domain.files import Item, Source, is_metadata, printable

T = TypeVar("T")
CHUNK = 64  # files handed to a thread at once
LIMIT = 0.05  # the share of broken files above which a set is refused


class NothingWhole(ValueError):
    """Not one picture of a set can be read."""


class Broken(NamedTuple):
    """A file that could not be read, and why."""

    reason: str


def each(items: Iterable[Item], work: Callable[[str, BinaryIO], T]) -> Iterator[tuple[str, T | Broken]]:
    """`work` done on every opened file by several threads, in order; what it raises is that file's being broken."""
    workers = os.cpu_count() or 1

    def run(chunk: list[Item]) -> list[tuple[str, T | Broken]]:
        return [(name, _try(work, name, open_)) for name, open_ in chunk]

    for decoder in ("PIL", "tifffile"):
        logging.getLogger(decoder).setLevel(logging.CRITICAL)  # what they say of a broken file is that file's reason
    waiting: deque[Future[list[tuple[str, T | Broken]]]] = deque()
    iterator = iter(items)
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn of what they can mend
        while chunk := list(islice(iterator, CHUNK)):
            waiting.append(pool.submit(run, chunk))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _try(work: Callable[[str, BinaryIO], T], name: str, open_: Callable[[], BinaryIO]) -> T | Broken:
    try:
        with open_() as file:
            return work(name, file)
    except MissingExtra as error:
        raise MissingExtra(f"{printable(name)}: {error}") from error
    except Exception as error:  # whatever an outside decoder raises on hostile bytes
        from PIL import UnidentifiedImageError

        text = "no picture of a known kind" if isinstance(error, UnidentifiedImageError) else str(error)
        return Broken(printable((text.splitlines() or [type(error).__name__])[0])[:200])


@dataclass
class Survey:
    """All that headers say: the header of each picture by name, what is broken and why, and the content of metadata files."""

    headers: dict[str, Header] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, bytes] = field(default_factory=dict)


def survey(files: Source, whole: bool = False) -> Survey:
    """One pass over the files; reads their headers, or where `whole` all of each. ValueError if there is no picture at all."""
    found = Survey()
    read = look if whole else header

    def work(name: str, file: BinaryIO) -> Header | bytes:
        return file.read() if is_metadata(name) else read(file)

    for name, result in each(files.items(), work):
        if isinstance(result, Broken):
            found.broken[name] = result.reason
        elif isinstance(result, bytes):
            found.metadata[name] = result
        else:
            found.headers[name] = result
    found.broken |= files.refused
    return found


def refuse_broken(broken: dict[str, str], good: int, root: str, limit: float) -> None:
    """ValueError where more than `limit` of the files are broken, NothingWhole where all are."""
    if broken and not good:
        name, reason = next(iter(broken.items()))
        raise NothingWhole(f"{root}: not one of {len(broken)} pictures can be read (first: {printable(name)}: {reason})")
    if len(broken) > limit * (good + len(broken)):
        name, reason = next(iter(broken.items()))
        raise ValueError(
            f"{root}: {len(broken)} of {good + len(broken)} pictures are broken, more than {limit:.0%} (first: "
            f"{printable(name)}: {reason}); `unnoise check` lists them; mend or remove them, or allow more: broken = 0.2"
        )


def refuse_nothing(found: Survey, files: Source, root: str) -> None:
    """ValueError where there is not one file that looks like a picture."""
    if not found.headers and not found.broken:
        others = ", ".join(f"{n} {kind or 'without suffix'}" for kind, n in files.others.most_common(3)) or "nothing at all"
        raise ValueError(f"{root} holds no pictures, but {others}; expected PNG, JPEG, WebP, BMP, TIFF or .npy files")
