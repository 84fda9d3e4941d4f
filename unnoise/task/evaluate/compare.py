"""Evaluations side by side: of numbers under one protocol alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unnoise.task.evaluate.result import Evaluation, Number
from unnoise.task.evaluate.table import ends, short

LESS = {"frechet", "frechet_infinity", "kid", "class_distance", "sliced_wasserstein", "mmd", "spectrum", "marginal", "copies",
        "bits_per_dim", "nfe", "seconds", "joules"}  # fmt: skip
MORE = {"precision", "recall", "coverage", "accuracy", "inception_score"}
ONCE = 1.25  # times: what one measurement of a time or an energy may be off by, either way
MACHINE = {"seconds", "joules"}  # depend on the machine, which is a part of their protocol


@dataclass(frozen=True)
class Comparison:
    """Evaluations side by side.

    Args:
        evaluations: In the order given.
        best: For each number that has a better side, the evaluations (by position) that no other is surely better than.
    """

    evaluations: list[Evaluation]
    best: dict[str, list[int]]

    @property
    def names(self) -> list[str]:
        """Of the numbers that any has, in the order of the first."""
        return list(dict.fromkeys(name for one in self.evaluations for name in one.numbers))

    def table(self) -> str:
        """Numbers in columns; a star where an evaluation is surely better than all others."""
        rows = [["", *(one.name for one in self.evaluations), "real data"]]
        for name in self.names:
            row = [one.numbers.get(name) for one in self.evaluations]
            real = next((n.real for n in row if n is not None and n.real is not None), None)
            alone = self.best.get(name, []) if len(self.best.get(name, [])) == 1 else []
            cells = ["" if n is None else f"{short(n.value)} [{ends(n)}]{' *' * (i in alone)}".replace(" []", "")
                     for i, n in enumerate(row)]  # fmt: skip
            rows.append([name, *cells, short(real.value) if real else ""])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        verdicts = [f"{one.name}: {line}" for one in self.evaluations for line in one.verdict]
        return "\n".join([*lines, "", *verdicts, "* surely better than all others", f"({self.evaluations[0].about['protocol']})"])


def compare(evaluations: Sequence[Evaluation]) -> Comparison:
    """Evaluations side by side.

    Raises:
        ValueError: For fewer than two, two of a name, or a number that was measured in different ways.
    """
    if len(evaluations) < 2:
        raise ValueError(f"{len(evaluations)} evaluation: two are needed to compare")
    best: dict[str, list[int]] = {}
    for name in dict.fromkeys(name for one in evaluations for name in one.numbers):
        there = {i: one.numbers[name] for i, one in enumerate(evaluations) if name in one.numbers}
        lines = list(dict.fromkeys(n.protocol for n in there.values()))
        if len(lines) > 1 and name not in MACHINE:
            raise ValueError(f"{name} was measured in different ways: ({lines[0]}) and ({lines[1]}); evaluate both alike")
        if len(lines) == 1 and name in LESS | MORE:
            best[name] = [i for i, n in there.items() if not any(surely(name, other, n) for other in there.values())]
    return Comparison(list(evaluations), best)


def surely(name: str, a: Number, b: Number) -> bool:
    """Whether a is better than b beyond both intervals."""
    (low, high), (other_low, other_high) = _ends(a), _ends(b)
    return high < other_low if name in LESS else low > other_high


def _ends(number: Number) -> tuple[float, float]:
    """Of its interval; of a number that was measured once, which has none, what it may be off by."""
    if math.isnan(number.low) or math.isnan(number.high):
        return number.value / ONCE, number.value * ONCE
    return number.low, number.high
