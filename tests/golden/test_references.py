"""Schedules, predictions, denoisers and chains against golden references."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from . import ddgan, guided, harness, losses, lucidrains, truth
from .harness import Builder, Case, Excuse

ITEMS: dict[str, Builder] = {
    "ddgan": ddgan.ddgan,
    "guided_schedules": guided.schedules,
    "guided_steps": guided.steps,
    "guided_loops": losses.guided_loops,
    "lucidrains_gaussian": lucidrains.lucidrains,
    "score_sde": losses.scored,
    "truth_mixture_2d": losses.truth_mixture,
    "truth_mixture_64d": losses.truth_mixture,
    "truth_samplers_gaussian": truth.samplers,
}

EXCUSES: list[Excuse] = []


def test_reference(case: Case, judge: Callable[..., None]) -> None:
    judge(case, ITEMS, EXCUSES)


def test_every_item_of_the_folder_is_known(goldens: Path) -> None:
    """Checked here, checked by another module, or said to be later: never passed over."""
    modules = (importlib.import_module(f".{path.stem}", __package__) for path in Path(__file__).parent.glob("test_*.py"))
    known = set(harness.LATER).union(*(getattr(module, "ITEMS", {}) for module in modules))
    assert set(harness.items(goldens)) <= known
