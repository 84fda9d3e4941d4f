"""Odd files are read right or listed in one line; names, places and mutated files are survived; each in bounded time."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np
import odd_kinds
import odd_png
import odd_tiff
import pytest
import torch
from odd_places import NAMES, PLACES, mutated, named, place
from odd_png import Odd
from pictures import decoded

from unnoise.domain import Images, scan
from unnoise.domain.base import to_levels

ODD: dict[str, Odd] = {**odd_png.kinds(), **odd_png.broken(), **odd_kinds.kinds(), **odd_tiff.kinds(), **odd_tiff.broken()}
PATIENCE = 5.0  # seconds that one file may take

pytestmark = pytest.mark.usefixtures("cache")


def outcome(odd: Odd, folder: Path) -> str:
    """What becomes of a file beside a good picture: "right", "listed", or what is wrong."""
    folder.mkdir()
    (folder / f"odd{odd.suffix}").write_bytes(odd.content)
    began = time.perf_counter()
    report = scan(folder)
    if time.perf_counter() - began > PATIENCE:
        return "too slow"
    if report.broken:
        (reason,) = report.broken.values()
        return "listed" if reason and reason.isprintable() else f"told as {reason!r}"
    if report.pictures != 1:
        return "lost"
    images = Images(str(folder))
    x = images.dataset().batch(torch.tensor([0]))["x"]
    pixels = to_levels(x, images.span, images.facts()["depth"])[0].transpose(1, 2, 0)
    if odd.pixels is None:
        return "read, though it cannot be"
    if pixels.shape != odd.pixels.shape:
        return f"of shape {pixels.shape}, not {odd.pixels.shape}"
    apart = float(np.abs(pixels.astype(float) - odd.pixels).max())
    return "right" if apart <= odd.within + 1e-6 * np.abs(odd.pixels).max() else f"off by {apart:g}"


def mutants(n: int) -> list[tuple[Odd, bytes]]:
    """Files that can be read, each with what became of it by damage; n is their seed too."""
    draw, whole = random.Random(n), [odd for odd in ODD.values() if odd.pixels is not None and not odd.either]
    return [(odd, mutated(odd.content, draw)) for odd in draw.choices(whole, k=n)]


def summed(odd: Odd) -> bool:
    """Whether it is a PNG, which says by itself whether it is whole."""
    return odd.content.startswith(odd_png.SIGNATURE)


def same(odd: Odd, pixels: np.ndarray) -> bool:
    """Whether the pixels are those of the file before it was damaged."""
    assert odd.pixels is not None
    return pixels.shape == odd.pixels.shape and bool((np.abs(pixels.astype(float) - odd.pixels) <= odd.within).all())


def expected(odd: Odd) -> set[str]:
    return {"listed"} if odd.pixels is None else {"right", "listed"} if odd.either else {"right"}


def test_odd_files_are_read_right_or_listed(tmp_path: Path) -> None:
    assert len(ODD) > 250
    found = {name: outcome(odd, tmp_path / str(k)) for k, (name, odd) in enumerate(ODD.items())}
    assert {name: what for name, what in found.items() if what not in expected(ODD[name])} == {}


@pytest.mark.parametrize("name", PLACES)
def test_odd_places(name: str, tmp_path: Path) -> None:
    pictures, listed = place(name, tmp_path)
    report = scan(tmp_path)
    assert (report.pictures, len(report.broken)) == (pictures, listed)
    assert all(line.isprintable() for line in str(report).splitlines()) and json.dumps(report.json())


def test_odd_names(tmp_path: Path) -> None:
    report = scan(tmp_path) if (count := named(tmp_path)) else None
    assert report is not None and (report.pictures, report.broken) == (count, {})
    names = [name for group in report.twins.exact for name in group]
    assert len(names) == len(set(names)) == count and all(name.isprintable() for name in names)
    assert len(NAMES) > 30 and str(report).encode()


@pytest.mark.parametrize("n", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutated_files_are_read_or_listed(n: int, tmp_path: Path) -> None:
    made = mutants(n)
    for k, (odd, content) in enumerate(made):
        (tmp_path / f"{k}{odd.suffix}").write_bytes(content)
    report = scan(tmp_path)
    told = [line for line in str(report).splitlines() if line.startswith("  broken: ")]
    assert report.pictures + len(report.broken) == n and len(told) == len(report.broken) > n / 5 and report.pictures > n / 10
    read = [(odd, content) for k, (odd, content) in enumerate(made) if summed(odd) and f"{k}.png" not in report.broken]
    assert not [odd for odd, content in read if not same(odd, decoded(content))]  # PNG has sums by which damage is seen
