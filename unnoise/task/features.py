"""Features of one's own data: a classifier where there are classes, an autoencoder where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from unnoise.domain import Images
from unnoise.task.evaluate import features as own
from unnoise.task.evaluate.arrays import SUFFIXES, Arrays
from unnoise.task.evaluate.real import real

KINDS = ("classifier", "autoencoder")


def features(
    data: Path,
    out: Path | None = None,
    *,
    kind: str | None = None,
    size: int | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> tuple[Path, str]:
    """Trains features of these data, or takes those of the cache; their file, and what is to be said of them.

    Args:
        data: A folder or archive of pictures, a .npy or .npz.
        out: Another file to write them to; the cache, where `evaluate` finds them, if not given.
        kind: "classifier" or "autoencoder"; a classifier where there are classes if not given.
        size: Pixels a side that pictures are brought to.
        say: Takes the lines meant for a person.

    Raises:
        ValueError: For data that they cannot be trained on.
    """
    if kind not in (None, *KINDS):
        raise ValueError(f"--kind {kind}: expected {' or '.join(KINDS)}")
    array = data.suffix.lower() in SUFFIXES and data.is_file()
    domain: Images | Arrays = Arrays(data) if array else Images(str(data), size=size)
    known, digest = real(domain), str(domain.facts().get("digest", ""))  # type: ignore[arg-type]
    judge = own.classifier(known, digest, say=say) if kind != "autoencoder" else None
    if judge is None and kind == "classifier":
        raise ValueError(f"{data}: no pictures (of at least 8 x 8) with two classes or more; expected sub-folders as classes")
    made = judge or own.autoencoder(known, digest, say)
    path = own.own_file(made.name, known, digest)
    if out is not None:
        made.save(out)
        path = out
    told = f"{made.name} {made.digest} of {known.of:,} items"
    if judge is not None and known.held_out is not None:
        told += f"; it recognises {judge.accuracy(*known.labelled(known.held_out)):.1%} of those held out"
    elif isinstance(made, own.Autoencoder) and known.held_out is not None:
        x = known.held_out["x"][:1000]
        with torch.no_grad():
            left = (made(x) - made.scaled(x)).square().mean() / made.scaled(x).square().mean()
        told += f"; {1 - float(left):.1%} of the variance of those held out comes back"
    return path, told
