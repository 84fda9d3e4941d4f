"""Which features sets are compared by: chosen by name or file, trained on first use where they are the data's own, kept."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.domain.cache import cache_folder
from unnoise.metric.features import (
    Autoencoder,
    Classifier,
    Features,
    Inception,
    Pooled,
    Raw,
    Transformer,
    train,
    train_autoencoder,
)
from unnoise.metric.features.base import digest
from unnoise.task.evaluate.real import Real
from unnoise.train import read_weights
from unnoise.zoo.pickled import read_pickled

LARGE = 32  # pixels a side: from there on raw values say little
POOLED = 16
VARIABLE = "UNNOISE_INCEPTION"  # names the file of Inception's weights
URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d"  # begins with
EXPECTED = "raw, pooled16, classifier, autoencoder, inception, inception-bicubic, dinov2, clip, a file, or module:callable"

Say = Callable[[str], object]


@dataclass(frozen=True)
class Outside:
    """A callable from outside the package, x (B, *shape) -> (B, D), by the name that the user gave."""

    name: str
    made: Callable[[Tensor], Tensor]
    digest: str = ""

    def features(self, x: Tensor) -> Tensor:
        return self.made(x)


def classifier(real: Real, data: str, say: Say = lambda line: None) -> Classifier | None:
    """The data's own classifier, trained on first use and kept in the user's cache.

    None for data that it cannot take: no pictures, or no classes. `data` is their digest.
    """
    if not recognisable(real):
        return None
    shape, path = tuple(real.train["x"].shape[1:]), own_file("classifier", real, data)
    if path.is_file():
        kept = Classifier.load(path)
        if (kept.shape, kept.classes, kept.data) == (shape, len(real.classes), data):
            return kept
    say(f"a classifier of the data's own is trained, once, in a minute or more; it stays in {path}")
    trained = train(*real.labelled(real.train), len(real.classes))
    trained.data = data
    path.parent.mkdir(parents=True, exist_ok=True)
    trained.save(path)
    return trained


def autoencoder(real: Real, data: str, say: Say = lambda line: None) -> Autoencoder:
    """The data's own autoencoder, trained on first use and kept in the user's cache; ValueError for what are no pictures."""
    if not _pictures(real):
        raise ValueError("features autoencoder: these data are no pictures of at least 8 x 8; take raw")
    path = own_file("autoencoder", real, data)
    if path.is_file():
        kept = Autoencoder.load(path)
        if (kept.shape, kept.data) == (tuple(real.train["x"].shape[1:]), data):
            return kept
    say(f"an autoencoder of the data's own is trained, once, in a minute or more; it stays in {path}")
    trained = train_autoencoder(real.train["x"])
    trained.data = data
    path.parent.mkdir(parents=True, exist_ok=True)
    trained.save(path)
    return trained


def own_file(kind: str, real: Real, data: str) -> Path:
    """Where the cache has the features of some data."""
    key = json.dumps([kind, data, list(real.train["x"].shape[1:]), real.classes if kind == "classifier" else ()])
    return cache_folder() / "features" / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def choose(name: str | None, real: Real, data: str, judge: Classifier | None, say: Say = lambda line: None) -> Features:
    """The features of that name, or in that file; without one raw values below 32 pixels, else the data's own.

    Raises:
        ValueError: For a name that is unknown, or features that these data cannot have.
    """
    if name is None:
        name = "raw" if not large(real) else "classifier" if judge else "autoencoder"
    if name == "raw":
        return Raw()
    if re.fullmatch(r"pooled\d*", name):
        return Pooled(int(name.removeprefix("pooled") or POOLED))
    if name == "classifier":
        if judge is None:
            raise ValueError("features classifier: these data are no pictures with classes; take raw or autoencoder")
        return judge
    if name == "autoencoder":
        return autoencoder(real, data, say)
    if name in ("inception", "inception-bicubic"):
        return _inception(name.partition("-")[2] or "bilinear", _weights(say))
    kind, _, source = name.partition(":")
    if kind in ("dinov2", "clip"):
        return Transformer(kind, source)
    if Path(name).is_file():
        return _of_file(Path(name))
    if source and kind.replace(".", "_").isidentifier():
        return _outside(kind, source)
    raise ValueError(f"features {name!r}: expected {EXPECTED}")


def large(real: Real) -> bool:
    """Whether these are pictures whose raw values say little."""
    return _pictures(real) and min(real.train["x"].shape[2:]) >= LARGE


def recognisable(real: Real) -> bool:
    """Whether these are pictures with classes."""
    return _pictures(real) and len(real.classes) >= 2


def _pictures(real: Real) -> bool:
    shape = real.train["x"].shape[1:]
    return len(shape) == 3 and min(shape[1:]) >= 8


def _of_file(path: Path) -> Features:
    """What a file holds: a classifier or autoencoder that `unnoise features` wrote, or Inception's weights."""
    if path.suffix != ".safetensors":
        return _inception("bilinear", path)
    weights, facts = read_weights(path)
    if "Conv2d_1a_3x3.conv.weight" in weights:
        return _inception("bilinear", path)
    return (Autoencoder if facts.get("kind") == "autoencoder" else Classifier).load(path)


def _inception(resize: str, path: Path) -> Inception:
    weights = read_weights(path)[0] if path.suffix == ".safetensors" else read_pickled(path)
    return Inception(resize).load(weights, str(path))


def _weights(say: Say) -> Path:
    """The file of Inception's weights: named by the environment, or in the cache, or else fetched."""
    import urllib.request

    if given := os.environ.get(VARIABLE):
        if not Path(given).is_file():
            raise ValueError(f"{VARIABLE}={given}: no such file")
        return Path(given)
    path = cache_folder() / "features" / URL.rpartition("/")[2]
    if path.is_file():
        return path
    say(f"Inception's weights are fetched, once, from {URL}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with urllib.request.urlopen(URL, timeout=30) as answer:
            draft.write_bytes(answer.read())
        found = hashlib.sha256(draft.read_bytes()).hexdigest()
        if not found.startswith(SHA256):
            raise ValueError(f"{URL}: its SHA-256 is {found}; expected {SHA256}...")
        os.replace(draft, path)
    except OSError as error:
        raise ValueError(
            f"no weights of Inception: they cannot be fetched from {URL} ({error}); put the file at {path}, or name it: "
            f"{VARIABLE}=FILE or --features FILE; raw and classifier need none"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return path


def _outside(module: str, name: str) -> Outside:
    try:
        made: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"features {module}:{name}: cannot be imported ({error})") from error
    if isinstance(made, nn.Module):
        return Outside(f"{module}:{name}", torch.no_grad()(made.eval()), digest(made))
    return Outside(f"{module}:{name}", torch.no_grad()(made))
