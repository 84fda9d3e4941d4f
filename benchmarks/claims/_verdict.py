"""What the rows say of a claim: the paired difference of two arms over the seeds, and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.claims._claim import LOWER, RATIOS, Claim, Said

HOLDS, OPPOSITE, UNDECIDED, LACKING = "holds", "the opposite holds", "undecided", "not measured yet"
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571}  # 97.5 % quantiles by degrees of freedom


@dataclass(frozen=True)
class Verdict:
    """How much better the arm is that is said to be: above 0 is the claim's side.

    Args:
        said: The comparison.
        value, low, high: The mean over the seeds and its 95 % interval; of a ratio's natural logarithm where ratios are compared.
        seeds: How many.
    """

    said: Said
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0

    @property
    def word(self) -> str:
        """In a word."""
        if self.seeds < 2:
            return LACKING
        return HOLDS if self.low > 0 else OPPOSITE if self.high < 0 else UNDECIDED

    def told(self) -> str:
        """The difference with its interval, as a person reads it."""
        if self.seeds < 2:
            return ""
        if self.said.number in RATIOS:
            value, low, high = (math.exp(-end) for end in (self.value, self.high, self.low))
            return f"x {value:.2f} ({low:.2f} to {high:.2f})"
        sign = -1 if self.said.number in LOWER else 1
        value, (low, high) = sign * self.value, sorted((sign * self.low, sign * self.high))
        return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def verdict(said: Said, rows: Sequence[dict[str, Any]]) -> Verdict:
    """Of one comparison; seeds that only one of the arms has do not count."""
    found = {arm: {row["seed"]: row[said.number] for row in rows if row["arm"] == arm} for arm in (said.better, said.worse)}
    seeds = sorted(found[said.better].keys() & found[said.worse].keys())
    gains = [_gain(said.number, found[said.better][seed], found[said.worse][seed]) for seed in seeds]
    if len(gains) < 2:
        return Verdict(said, seeds=len(gains))
    mean = sum(gains) / len(gains)
    deviation = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1))
    reach = STUDENT[len(gains) - 1] * deviation / math.sqrt(len(gains))
    return Verdict(said, mean, mean - reach, mean + reach, len(gains))


def verdicts(claim: Claim, rows: Sequence[dict[str, Any]]) -> list[Verdict]:
    """Of all comparisons of a claim."""
    return [verdict(said, rows) for said in claim.said]


def _gain(number: str, better: float, worse: float) -> float:
    if number in RATIOS:
        return math.log(worse / better)
    return worse - better if number in LOWER else better - worse
