"""Looking at every file, several at a time: what is in a folder or archive, and what is broken."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from unnoise.domain.archive import source
from unnoise.domain.decode import Header, MissingExtra, header, look
from unnoise.domain.files import Item, Source, conditions, is_metadata, printable, split_of

T = TypeVar("T")
CHUNK = 64  # files handed to a thread at once
LIMIT = 0.05  # the share of broken files above which a set is refused


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
    """ValueError where more than `limit` of the files are broken."""
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


@dataclass
class Report:
    """What `scan` found; printable. Each counter says how many pictures; `broken` says why, by name."""

    root: str
    splits: Counter[str]
    classes: Counter[str]
    modes: Counter[str]
    sizes: Counter[str]
    conditions: list[str]
    broken: dict[str, str]
    others: Counter[str]
    notes: list[str]

    @property
    def pictures(self) -> int:
        return self.splits.total()

    @property
    def usable(self) -> bool:
        """Whether there are pictures, and few enough are broken to train."""
        return self.pictures > 0 and len(self.broken) <= LIMIT * (self.pictures + len(self.broken))

    def __str__(self) -> str:
        counters = {"splits": self.splits, "modes": self.modes, "sizes": self.sizes, "classes": self.classes}
        lines = [f"{self.root}: {self.pictures} pictures, {len(self.broken)} broken"]
        lines += [f"  {name}: {_shown(counter)}" for name, counter in counters.items() if counter]
        lines += [f"  conditions: {', '.join(self.conditions)}"] if self.conditions else []
        lines += [f"  other files: {_shown(self.others)}"] if self.others else []
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  broken: {printable(name)}: {reason}" for name, reason in sorted(self.broken.items())]
        return "\n".join(lines)


def scan(root: str | Path) -> Report:
    """Reads every picture of a folder or archive whole and says what is there, without keeping anything.

    Raises:
        ValueError: If `root` is neither a folder nor an archive, or holds nothing that looks like a picture.
    """
    path = Path(root).expanduser()
    files = source(path)
    found = survey(files, whole=True)
    refuse_nothing(found, files, str(root))
    names = sorted(found.headers)
    splits, below = split_of(names)
    conds, columns, notes = conditions(names, below, found.metadata)
    label = next((key for key in ("folder", "label") if key in conds), None)
    classes = Counter[str]()
    if label:
        shown = (*conds[label].classes, "none")
        classes.update(shown[i] for i in columns[label])
    return Report(
        root=str(root),
        splits=Counter(split or "outside the splits" for split in splits),
        classes=classes,
        modes=Counter(head.mode + (" + alpha" if head.alpha and "A" not in head.mode else "") for head in found.headers.values()),
        sizes=Counter(f"{head.width} x {head.height}" for head in found.headers.values()),
        conditions=[f"{key} ({len(c.classes)} classes)" if c.classes else key for key, c in conds.items()],
        broken=found.broken,
        others=files.others,
        notes=notes,
    )


def _shown(counter: Counter[str], most: int = 12) -> str:
    listed = [f"{key or 'no suffix'} {n}" for key, n in counter.most_common(most)]
    return ", ".join(listed) + (f", and {len(counter) - most} more kinds" if len(counter) > most else "")
