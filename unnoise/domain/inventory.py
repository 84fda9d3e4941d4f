"""What a set of pictures holds, and what is wrong with it: everything is read before anything is trained."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unnoise.domain import balance
from unnoise.domain.archive import source
from unnoise.domain.balance import FEW
from unnoise.domain.cache import Wish, pack
from unnoise.domain.decode import Header
from unnoise.domain.files import printable
from unnoise.domain.images import Images
from unnoise.domain.inplace import InPlace
from unnoise.domain.survey import LIMIT, NothingWhole, Survey, refuse_nothing, survey
from unnoise.domain.twins import CHUNK, Groups, exact, near

NAMED = 3  # groups of twins that are told by name
UNEQUAL = 10  # times as many pictures in one class as in another
SHORT = 8  # pixels: sizes that are proposed are multiples of it


@dataclass(frozen=True)
class Twins:
    """Groups of pictures that are the same, by name; `near` ones look it only."""

    exact: list[list[str]] = field(default_factory=list)
    near: list[list[str]] = field(default_factory=list)
    leaks: list[list[str]] = field(default_factory=list)  # across training and held-out data
    conflicts: list[list[str]] = field(default_factory=list)  # the same file in different classes


@dataclass(frozen=True)
class Values:
    """What stands in the pictures: least and greatest stored value, mean and deviation of each channel of x in [-1, 1]."""

    low: float
    high: float
    mean: list[float]
    deviation: list[float]
    flat: list[str]  # pictures of one value throughout


@dataclass
class Report:
    """What `scan` found; printable. Each counter says how many pictures; `broken` says why, by name.

    `form` is how they were decoded into the cache, where training with the same size finds them; None if nothing could be.
    """

    root: str
    splits: Counter[str]
    classes: Counter[str]
    modes: Counter[str]
    sizes: Counter[str]
    conditions: list[str]
    broken: dict[str, str]
    others: Counter[str]
    notes: list[str]
    form: dict[str, Any] | None = None
    values: Values | None = None
    twins: Twins = field(default_factory=Twins)
    faults: list[str] = field(default_factory=list)  # of conditions

    @property
    def pictures(self) -> int:
        return self.splits.total()

    @property
    def usable(self) -> bool:
        """Whether there are pictures, and few enough are broken to train."""
        return self.pictures > 0 and len(self.broken) <= LIMIT * (self.pictures + len(self.broken))

    @property
    def warnings(self) -> list[str]:
        """What may spoil training or its measurement, a line each."""
        counted = [n for name, n in self.classes.items() if name != "none"]
        few = [name for name, n in self.classes.items() if n < FEW and name != "none"]
        twins = self.twins
        told = [
            (twins.leaks, "pictures are in training and held-out data alike, so that held-out figures flatter"),
            (twins.conflicts, "the same file lies in different classes"),
            (twins.exact, "the same file is there several times"),
            (twins.near, "pictures look the same"),
        ]
        lines = [f"{len(groups)} times {what}: {_examples(groups)}" for groups, what in told if groups]
        if counted and max(counted) > UNEQUAL * min(counted):
            names = [min(self.classes, key=self.classes.__getitem__), max(self.classes, key=self.classes.__getitem__)]
            lines.append(f"classes are unequal: {', '.join(f'{name} {self.classes[name]}' for name in names)}")
        if few:
            lines.append(f"{len(few)} classes of fewer than {FEW} pictures: {_listed(few)}")
        if self.values and self.values.flat:
            lines.append(f"{len(self.values.flat)} pictures are of one value throughout: {_listed(self.values.flat)}")
        return [*lines, *self.faults]

    def __str__(self) -> str:
        counters = {"splits": self.splits, "modes": self.modes, "sizes": self.sizes, "classes": self.classes}
        lines = [f"{self.root}: {self.pictures} pictures, {len(self.broken)} broken"]
        lines += [f"  {name}: {_shown(counter)}" for name, counter in counters.items() if counter]
        lines += [f"  condition {told}" for told in self.conditions]
        if self.values:
            means, deviations = (", ".join(f"{v:.3g}" for v in row) for row in (self.values.mean, self.values.deviation))
            lines.append(
                f"  values: {self.values.low:g} to {self.values.high:g}; x in [-1, 1]: mean {means}, deviation {deviations}"
            )
        lines += [f"  other files: {_shown(self.others)}"] if self.others else []
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        lines += [f"  broken: {printable(name)}: {reason}" for name, reason in sorted(self.broken.items())]
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        found = {"pictures": self.pictures, "usable": self.usable, "warnings": self.warnings, **vars(self)}
        found |= {name: dict(counter) for name, counter in found.items() if isinstance(counter, Counter)}
        found |= {"broken": {printable(name): reason for name, reason in self.broken.items()}}
        return found | {"values": self.values and asdict(self.values), "twins": asdict(self.twins)}


def scan(root: str | Path, size: int | tuple[int, int] | None = None, largest: int | None = None) -> Report:
    """Reads every picture of a folder or archive and says what is there. What is decoded stays in the cache for training.

    Args:
        root: The folder or archive.
        size: To which the pictures are brought; None: their own if all have the same and it is not above `largest`, else the
            median of their shorter sides down to a multiple of 8, `largest` at most.
        largest: In pixels; None for no limit.

    Raises:
        ValueError: If `root` is neither a folder nor an archive, or holds nothing that looks like a picture.
    """
    files = source(Path(root).expanduser())
    found = survey(files)
    refuse_nothing(found, files, str(root))
    headers = list(found.headers.values())
    try:
        images = _decoded(root, found, size or _size(headers, largest)) if headers else None
    except NothingWhole:
        images, found = None, survey(files, whole=True)
    broken = found.broken if images is None else images.decoded.meta["broken"]
    if images is not None:
        whole = np.array(images.decoded.names())[images.decoded.tables["print"] > 0]
        headers = [found.headers[name] for name in whole.tolist()]
    report = Report(
        root=str(root),
        splits=Counter(),
        classes=Counter(),
        modes=Counter(head.mode + (" + alpha" if head.alpha and "A" not in head.mode else "") for head in headers),
        sizes=Counter(f"{head.width} x {head.height}" for head in headers),
        conditions=[],
        broken=broken,
        others=files.others,
        notes=[],
    )
    return report if images is None else _described(report, images)


def _decoded(root: str | Path, found: Survey, size: int | tuple[int, int]) -> Images:
    images = Images(str(root), size=size, broken=1.0)
    wish = Wish((size, size) if isinstance(size, int) else size, None, images.resize, images.crop, images.background)
    images.__dict__["decoded"] = pack(str(root), wish, 1.0, found)  # the headers are not read again
    return images


def _size(headers: list[Header], largest: int | None) -> int | tuple[int, int]:
    shorter = sorted(min(head.height, head.width) for head in headers)
    alike = len({(head.height, head.width) for head in headers}) == 1
    if alike and (largest is None or max(headers[0].height, headers[0].width) <= largest):
        return headers[0].height, headers[0].width
    middle = shorter[len(shorter) // 2]
    return min(max(middle - middle % SHORT, min(middle, SHORT)), largest or middle)


def _described(report: Report, images: Images) -> Report:
    kept = images.decoded
    names, of = kept.names(), {row: split for split, rows in images.parts.items() for row in rows.tolist()}
    whole = np.array(sorted(set(of)), np.int64)
    outside = kept.meta["whole"] - len(whole)
    report.splits = Counter({split: len(rows) for split, rows in images.parts.items() if len(rows)})
    report.splits += Counter({"outside the splits": outside})
    report.notes, report.form = kept.meta["notes"], kept.meta["form"]
    conds = images.conds
    report.conditions = [balance.told(key, one, kept.columns[key][whole]) for key, one in conds.items()]
    report.faults = [line for key, one in conds.items() for line in balance.faults(key, one, kept.columns[key][whole])]
    label = next((key for key in ("folder", "label") if key in conds), None)
    column = kept.columns[label] if label else np.zeros(len(names), np.int64)
    if label:
        report.classes = Counter((*conds[label].classes, "none")[column[row]] for row in whole)
    report.values = _values(kept.x, whole, images.span, names)
    report.twins = _twins(kept.x, whole, kept.tables["print"], of, column, names)
    return report


def _values(x: np.ndarray | InPlace, rows: np.ndarray, span: tuple[float, float], names: list[str]) -> Values:
    total, squares, flat, ends = 0.0, 0.0, [], []
    for part in np.split(rows, range(CHUNK, len(rows), CHUNK)):
        values = x[part]
        low, high = values.min((1, 2, 3)), values.max((1, 2, 3))
        flat += [printable(names[row]) for row in part[low == high]]
        ends.append((float(low.min()), float(high.max())))
        scaled = (values.astype(np.float64) - span[0]) / ((span[1] - span[0]) / 2) - 1
        total, squares = total + scaled.mean((2, 3)).sum(0), squares + (scaled**2).mean((2, 3)).sum(0)
    mean = np.asarray(total) / len(rows)
    deviation = np.sqrt(np.maximum(np.asarray(squares) / len(rows) - mean**2, 0))
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    return Values(low, high, mean.tolist(), deviation.tolist(), flat)


def _twins(
    x: np.ndarray | InPlace, rows: np.ndarray, prints: np.ndarray, split: dict[int, str], column: np.ndarray, names: list[str]
) -> Twins:
    same: Groups = [[int(rows[i]) for i in group] for group in exact(prints[rows])]
    firsts = np.array(sorted(set(rows.tolist()) - {row for group in same for row in group[1:]}), np.int64)
    alike = near(x, firsts)
    groups = {group[0]: group for group in same}  # of near ones the exact twins are near as well
    widened = [sorted({twin for row in group for twin in groups.get(row, [row])}) for group in alike]
    crossing = [*widened, *(group for group in same if not any(group[0] in wide for wide in widened))]
    leaks = [group for group in crossing if len({split[row] == "train" for row in group}) > 1]
    conflicts = [group for group in same if len(set(column[group].tolist())) > 1]

    def named(groups: Groups) -> list[list[str]]:
        return [[printable(names[row]) for row in group] for group in groups]

    return Twins(named(same), named(alike), named(leaks), named(conflicts))


def _examples(groups: list[list[str]]) -> str:
    shown = [" = ".join(group[:3]) + (f" and {len(group) - 3} more" if len(group) > 3 else "") for group in groups[:NAMED]]
    return "; ".join(shown) + ("; ..." if len(groups) > NAMED else "")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _shown(counter: Counter[str], most: int = 12) -> str:
    listed = [f"{key or 'no suffix'} {n}" for key, n in counter.most_common(most)]
    return ", ".join(listed) + (f", and {len(counter) - most} more kinds" if len(counter) > most else "")
