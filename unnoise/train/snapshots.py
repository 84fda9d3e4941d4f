"""Averages that a run keeps on its way, `averages/step-N.safetensors`, and others that are made of them afterwards."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from .power import Power, coefficients
from .ranks import Alone
from .weights import gathered, read_weights, write_weights

FOLDER = "averages"


def due(step: int, steps: int, count: int) -> bool:
    """Whether a snapshot follows update number `step`: `count` of them, evenly spaced, the last after the last update."""
    return step * count // steps > (step - 1) * count // steps


def keep(folder: Path, step: int, averages: Sequence[Power], ranks: Alone | None = None) -> Path:
    """Writes the averages as they are after update number `step`; in float16, but for tensors that outgrow it."""
    ranks = ranks or Alone()
    whole = ranks.whole({f"power.{k}.{name}": weight for k, one in enumerate(averages) for name, weight in one.weights.items()})
    tensors = {name.removeprefix("power."): _half(gathered(weight)) for name, weight in whole.items()}
    path = folder / FOLDER / f"step-{step}.safetensors"
    lengths = json.dumps([one.length for one in averages])
    ranks.by_first(lambda: write_weights(path, tensors, {"step": str(step), "lengths": lengths}))
    return path


def kept(folder: Path) -> list[tuple[int, Path]]:
    """The steps of a run's snapshots and their files, in order."""
    found = (path for path in (folder / FOLDER).glob("step-*.safetensors") if re.fullmatch(r"step-\d+", path.stem))
    return sorted((int(path.stem.removeprefix("step-")), path) for path in found)


def reconstruct(folder: Path, lengths: Sequence[float]) -> list[dict[str, Tensor]]:
    """The averages of these lengths at the end of training, by the names of the weights, float32.

    Each snapshot is read once and two sets of weights for each length are in memory at most.

    Raises:
        ValueError: The run kept no averages, or a length is none.
    """
    found = kept(folder)
    if not found:
        raise ValueError(
            f"{folder} kept no averages of weights whose length could be chosen; "
            "training with --set train.Trainer.ema_lengths=[0.05,0.1] keeps them"
        )
    known = [(step, length) for step, path in found for length in _lengths(path)]
    weights = {length: coefficients(known, found[-1][0], length).tolist() for length in lengths}
    made: dict[float, dict[str, Tensor]] = {length: {} for length in lengths}
    first = 0
    for _, path in found:
        tensors, _ = read_weights(path)
        count = len(_lengths(path))
        for length, sums in made.items():
            _add(sums, tensors, weights[length][first : first + count])
        first += count
    return [made[length] for length in lengths]


def _add(sums: dict[str, Tensor], tensors: Mapping[str, Tensor], shares: Sequence[float]) -> None:
    """Adds each average of a snapshot, "k.name", times its share."""
    for key, tensor in tensors.items():
        k, _, name = key.partition(".")
        part = tensor.float() * shares[int(k)]
        sums[name] = sums[name] + part if name in sums else part


def _lengths(path: Path) -> list[float]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return [float(length) for length in json.loads((file.metadata() or {}).get("lengths", "[]"))]


def _half(weight: Tensor) -> Tensor:
    half = weight.to(torch.float16)
    return half if bool(torch.isfinite(half).all()) else weight
