"""What tests of evaluations and their pages share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unnoise.metric.features import classifier
from unnoise.task.evaluate import features


@contextmanager
def quick(cache: Path, steps: int = 60, batch: int = 64) -> Iterator[pytest.MonkeyPatch]:
    """A cache of its own, and classifiers of the data's own that are trained for a moment only."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("UNNOISE_CACHE", str(cache))
        monkeypatch.setattr(features, "train", lambda *args: classifier.train(*args, steps=steps, batch=batch))
        yield monkeypatch


def alone(html: str) -> str:
    """A page that needs nothing from outside, runs nothing, and shows no number that is none."""
    assert "http" not in html and "<script" not in html and "@import" not in html and "url(/" not in html
    assert all(source.startswith(("data:", "#")) for source in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert "nan" not in re.sub(r'base64,[^"]*', "", html).lower().split()
    return html
