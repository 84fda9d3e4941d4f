"""What was measured, for a person and for a program."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unnoise.task.selfcheck.cells import Cell
from unnoise.task.selfcheck.members import label, samplers
from unnoise.task.selfcheck.walks import KNOWN, WALKED, stated_order


@dataclass(frozen=True)
class Report:
    """The cells of each check, and how long it took."""

    found: Mapping[str, list[Cell]]
    seconds: Mapping[str, float]

    @property
    def cells(self) -> list[Cell]:
        return [cell for cells in self.found.values() for cell in cells]

    @property
    def faults(self) -> list[Cell]:
        return [cell for cell in self.cells if not cell.holds]

    @property
    def refused(self) -> Counter[str]:
        """How many cells were refused before any work, by the reason without its particulars."""
        return Counter(reason_of(cell.refused) for cell in self.cells if cell.refused)

    def lines(self) -> Iterator[str]:
        """The report as it is printed: laws, then one line a sampler, then what does not hold, then the verdict."""
        for name, cells in self.found.items():
            yield f"{name:<16} {len(cells):>5} cells {self.seconds[name]:6.1f} s   {_nearest(cells)}".rstrip()
        if rows := list(self.samplers()):
            titles = ("sampler", "order (stated)", "ragged times", "end error", "std error at 1000", "walks", "refused")
            yield ""
            yield from (f"{row[0]:<20}" + "".join(f"{part:>19}" for part in row[1:]) for row in (titles, *rows))
            yield "end error: of an exact mixture after 49 times; std error: the worst of all schedules;"
            yield "(0): states of itself that its law stays wrong, however many the steps"
            yield from (f"wider bound: {who} on {on}, {bound:.2%}: {why}" for (who, on), (bound, why) in KNOWN.items())
            yield from (f"other times: {name} on {label(rule)}" for name, rule in WALKED.items())
            yield ""
        yield from (f"refused {count:>5}: {reason}" for reason, count in self.refused.most_common())
        yield from (f"FAULT {cell}" for cell in self.faults)
        total, refused = len(self.cells), sum(self.refused.values())
        verdict = "all hold" if not self.faults else f"{len(self.faults)} DO NOT HOLD"
        counts = f"{total - refused} measured, {refused} refused with a reason"
        yield f"{total} cells in {sum(self.seconds.values()):.0f} s: {counts}; {verdict}"

    def samplers(self) -> Iterator[tuple[str, ...]]:
        """One row a sampler, all its options together except in the figures of its defaults."""
        for default in samplers(options=False):
            name = type(default).__name__
            mine = [cell for cell in self.cells if cell.member.partition("(")[0] == name and not cell.refused]
            if not mine:
                continue
            own = [cell for cell in mine if cell.member == name]
            smooth, ragged = (_least(own, "order", kind) for kind in ("smooth", "ragged"))
            spread = max((c for c in own if c.check == "std error"), key=lambda c: c.found, default=None)
            ends = [cell.found for cell in own if cell.check == "end error"]
            refused = sum(bool(cell.refused) for cell in self.cells if cell.member.partition("(")[0] == name)
            yield (
                name,
                f"{smooth:.2f} ({stated_order(default)})" if smooth < math.inf else f"- ({default.order})",
                f"{ragged:.2f}" if ragged < math.inf else "-",
                f"{ends[0]:.1e}" if ends else "-",
                f"{spread.found:.2%} {spread.where.partition(',')[0].partition('(')[0][:11]}" if spread else "-",
                str(sum(cell.check.startswith("values") for cell in mine)),
                str(refused),
            )

    def facts(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        return {
            "holds": not self.faults,
            "cells": len(self.cells),
            "refused": dict(self.refused),
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            "faults": [str(cell) for cell in self.faults],
            "measured": [cell._asdict() | {"found": _plain(cell.found)} for cell in self.cells if not cell.refused],
        }


def _nearest(cells: list[Cell]) -> str:
    """The cell that comes nearest to its bound, of those whose bound is a positive number."""

    def share(cell: Cell) -> float:
        share = cell.bound / cell.found if cell.at_least else cell.found / cell.bound
        return share if share == share else math.inf

    measured = [cell for cell in cells if not cell.refused and 0 < cell.bound < math.inf and cell.found]
    if not measured:
        return ""
    cell = max(measured, key=share)
    return f"nearest to its bound: {cell.check} {cell.found:.2g} of {cell.bound:.2g} ({cell.member} on {cell.where})"


def _least(cells: list[Cell], check: str, kind: str) -> float:
    return min((cell.found for cell in cells if cell.check == check and kind in cell.where), default=math.inf)


def reason_of(text: str) -> str:
    """A refusal without its numbers and the objects it names, so that alike ones are counted together."""
    text = re.sub(r"^(\w+)\(.*\):", r"\1:", text.split(";")[0])
    text = re.sub(r"(on|of|given) [A-Z]\w*[(\[].*", "", text)
    return re.sub(r"\d[\d.]*", "N", text).strip(" ,")


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
