"""Objectives, bounds and likelihoods against golden references."""

from __future__ import annotations

from collections.abc import Callable

from . import losses
from .harness import Builder, Case, Excuse

ITEMS: dict[str, Builder] = {"guided_losses": losses.guided_losses, "guided_resampler": losses.resampler}
EXCUSES: list[Excuse] = []


def test_reference(case: Case, judge: Callable[..., None]) -> None:
    judge(case, ITEMS, EXCUSES)
