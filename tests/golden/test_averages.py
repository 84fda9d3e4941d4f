"""Averages of weights against golden references."""

from __future__ import annotations

from collections.abc import Callable

from . import averages
from .harness import Builder, Case, Excuse

ITEMS: dict[str, Builder] = {"edm2_phema": averages.edm2_phema}
EXCUSES: list[Excuse] = []


def test_reference(case: Case, judge: Callable[..., None]) -> None:
    judge(case, ITEMS, EXCUSES)
