"""One entry of the table that is checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Cell(NamedTuple):
    """A number, and what it must keep to.

    Attributes:
        check: What was measured.
        member: Whose it is: a sampler, schedule, rule or prediction with its options.
        where: On what it was measured.
        found: The number; NaN keeps to nothing.
        bound: What it may at most be, or must at least be.
        at_least: Which of the two.
        refused: The reason, where the combination was refused before any work; that is no fault.
    """

    check: str
    member: str
    where: str
    found: float = 0.0
    bound: float = 0.0
    at_least: bool = False
    refused: str = ""

    @property
    def holds(self) -> bool:
        return bool(self.refused) or (self.found >= self.bound if self.at_least else self.found <= self.bound)

    def __str__(self) -> str:
        limit = "at least" if self.at_least else "at most"
        return f"{self.member} on {self.where}: {self.check} is {self.found:.4g}, {limit} {self.bound:.4g} is expected"


Cells = Iterator[Cell]


def attempt(check: str, member: str, where: str, measure: Callable[[], float], bound: float, at_least: bool = False) -> Cell:
    """A cell from a measurement. A ValueError is a refusal and its text the reason; any other error is a fault."""
    try:
        found = measure()
    except ValueError as error:
        return Cell(check, member, where, refused=" ".join(str(error).split()))
    except Exception as error:
        return Cell(check, member, f"{where} ({type(error).__name__}: {error})", math.nan, bound, at_least)
    return Cell(check, member, where, found, bound, at_least)
