"""The proof of the mathematics, repeated: every member of every room against closed forms, and a report of what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from unnoise.task.selfcheck import formulas, laws, walks
from unnoise.task.selfcheck.cells import Cell, Cells
from unnoise.task.selfcheck.report import Report

CHECKS: dict[str, Callable[[bool], Cells]] = {
    "schedules": laws.schedule_laws,
    "predictions": laws.prediction_laws,
    "times": laws.time_laws,
    "closed forms": laws.exact_laws,
    "prior and noise": laws.start_laws,
    "exact chains": laws.chain_laws,
    "formulas": formulas.formula_laws,
    "convergence": walks.converge,
    "walks": walks.evaluate,
    "randomness": walks.randomness,
    "spread": walks.spread,
}


def selfcheck(quick: bool = False, only: str | None = None, progress: Callable[[str], Any] = lambda name: None) -> Report:
    """Measures the whole table on laws of data whose answers are known in closed form; no network is needed.

    Args:
        quick: Fewer schedules and steps: seconds instead of a minute.
        only: One of `CHECKS`.
        progress: Told the name of each check before it begins.
    """
    found: dict[str, list[Cell]] = {}
    seconds: dict[str, float] = {}
    with torch.no_grad():
        for name in CHECKS if only is None else [only]:
            progress(name)
            started = time.perf_counter()
            found[name] = list(CHECKS[name](quick))
            seconds[name] = time.perf_counter() - started
    return Report(found, seconds)


__all__ = ["CHECKS", "Cell", "Report", "selfcheck"]
