"""Augmentation against golden references."""

from __future__ import annotations

from collections.abc import Callable

from . import augmenting
from .harness import Builder, Case, Excuse

ITEMS: dict[str, Builder] = {"edm_augment": augmenting.edm_augment}
CUBIC = "pictures are read between their pixels by cubic interpolation; theirs by wavelets of twice the size"
EXCUSES = [Excuse("edm_augment", lambda params: True, CUBIC, roles="augmented")]


def test_reference(case: Case, judge: Callable[..., None]) -> None:
    judge(case, ITEMS, EXCUSES)
