"""What the reference is known by: features and their moments, kept in the user's cache under a key of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.domain.cache import cache_folder
from unnoise.metric import Moments
from unnoise.metric.base import Kept
from unnoise.metric.features import Features

VERSION = 1  # of what is kept


@dataclass(frozen=True)
class Reference:
    """Features of the reference: moments of all, and at most 20,000 rows, (N, D)."""

    moments: Moments
    rows: Tensor


def reference(features: Features, blocks: Iterator[Tensor], key: list[object]) -> Reference:
    """From the cache or else from the blocks, which are then kept. `key` says which items these are, to the letter.

    What features without weights are made of costs no more than reading it: nothing of it is kept.
    """
    if not features.digest:
        return _measured(features, blocks)
    name = hashlib.sha256(json.dumps([VERSION, features.name, features.digest, *key]).encode()).hexdigest()[:32]
    path = cache_folder() / "reference" / f"{name}.safetensors"
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    if path.is_file():
        try:
            kept = load_file(path)
            moments = Moments()
            moments.n, moments.mean, moments.scatter = int(kept["n"]), kept["mean"], kept["scatter"]
            return Reference(moments, kept["rows"])
        except (SafetensorError, KeyError, OSError):
            path.unlink(missing_ok=True)  # damaged: it can always be measured again
    made = _measured(features, blocks)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    n = torch.tensor(made.moments.n)
    draft.write_bytes(save({"n": n, "mean": made.moments.mean, "scatter": made.moments.scatter, "rows": made.rows.contiguous()}))
    os.replace(draft, path)
    return made


def _measured(features: Features, blocks: Iterator[Tensor]) -> Reference:
    moments, kept = Moments(), Kept()
    for x in blocks:
        rows = features.features(x).detach().float()
        moments.update(rows)
        kept.add(rows)
    return Reference(moments, kept.rows)
