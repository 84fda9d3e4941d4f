"""Which features sets are compared by, and the classifier of the data's own: chosen, trained on first use, kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from unnoise.domain.cache import cache_folder
from unnoise.metric.features import Classifier, Features, Pooled, Raw, train
from unnoise.task.evaluate.real import Real

FILE = "classifier.safetensors"
LARGE = 32  # pixels a side: from there on raw values say little
POOLED = 16


def classifier(real: Real, digest: str, folder: Path | None = None, say: Any = lambda line: None) -> Classifier | None:
    """The data's own classifier, trained on first use and kept in a folder, by default the user's cache.

    None for data that it cannot take: no pictures, or no classes. `digest` is that of the data.
    """
    shape = tuple(real.train["x"].shape[1:])
    if not recognisable(real):
        return None
    key = hashlib.sha256(json.dumps([digest, shape, real.classes]).encode()).hexdigest()[:32]
    path = folder / FILE if folder else cache_folder() / "features" / f"{key}.safetensors"
    if path.is_file():
        kept = Classifier.load(path)
        if (kept.shape, kept.classes, kept.data) == (shape, len(real.classes), digest):
            return kept
    say(f"a classifier of the data's own is trained, once; it stays in {path}")
    trained = train(*real.labelled(real.train), len(real.classes))
    trained.data = digest
    path.parent.mkdir(parents=True, exist_ok=True)
    trained.save(path)
    return trained


def recognisable(real: Real) -> bool:
    """Whether a classifier can be trained on these data."""
    shape = real.train["x"].shape[1:]
    return len(shape) == 3 and min(shape[1:]) >= 8 and len(real.classes) >= 2


def choose(name: str | None, real: Real, judge: Classifier | None, say: Any = lambda line: None) -> Features:
    """The features of that name, or in that file; without one raw values below 32 pixels, else the data's own.

    Raises:
        ValueError: For a name that is unknown, or features that these data cannot have.
    """
    shape = real.train["x"].shape[1:]
    large = len(shape) == 3 and min(shape[1:]) >= LARGE
    name = name or (("classifier" if judge else f"pooled{POOLED}") if large else "raw")
    if name == "raw":
        return Raw()
    if name.startswith("pooled"):
        return Pooled(int(name.removeprefix("pooled") or POOLED))
    if name == "classifier":
        if judge is None:
            raise ValueError("features classifier: these data are no pictures with classes; take raw")
        return judge
    if Path(name).is_file():
        return Classifier.load(Path(name))
    raise ValueError(f"features {name!r}: expected raw, pooled16, classifier, or a file that `unnoise features` wrote")
