"""The length of the average of a run's weights, chosen after training.

Each length is made of the averages that training kept (`ema_lengths`), sampled as the run is sampled, and measured from the same
seeds. What won among several won by luck too: the best is measured again beside the run's present weights, from seeds that were
not seen, and replaces them only if it is better there, and surely worse in nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from unnoise.model import FILES, Model, load
from unnoise.task import machine
from unnoise.task.evaluate import Wish
from unnoise.task.sweep.grid import Bench, Numbers, Setting, numbers, plain, said, worse
from unnoise.train import read_weights, reconstruct, write_weights
from unnoise.train.weights import copy

FILE = "averages.json"


@dataclass(frozen=True)
class Lengths:
    """What was found.

    Args:
        present: The run's weights as they were.
        points: The numbers of each length, in rising order.
        chosen: The length of the smallest Frechet distance.
        before, after: The run's weights and those of the chosen length on fresh seeds.
        stored: Whether the latter are the run's now.
        real: What real data reach.
        protocol: How all was measured.
    """

    present: Numbers
    points: dict[float, Numbers]
    chosen: float
    before: Numbers
    after: Numbers
    stored: bool
    real: Numbers
    protocol: str

    def json(self) -> dict[str, Any]:
        single = {name: plain(getattr(self, name)) for name in ("present", "before", "after", "real")}
        points = [{"length": length, **plain(numbers)} for length, numbers in self.points.items()]
        return {"points": points, **single, "chosen": self.chosen, "stored": self.stored, "protocol": self.protocol}


def lengths(run: Path, asked: Sequence[float], wish: Wish | None = None, say: Callable[[str], object] = print) -> Lengths:
    """Measures averages of these lengths, writes `averages.json` into the run, and gives it the weights of the best.

    Args:
        run: The run's folder, trained with `ema_lengths`. The weights that it was trained to stay in its checkpoint.
        asked: Lengths, each above 0 and below 0.288.
        wish: Samples, seeds, data, features.
        say: Takes a line for each length.

    Raises:
        ValueError: For a folder that is no run or kept no averages, or a length that is none.
    """
    wish, asked = wish or Wish(n=300), sorted(set(asked))
    made = dict(zip(asked, reconstruct(run, asked), strict=True))
    model = load(run, device=machine.device(wish.device))
    model.precision = machine.precision(wish.precision)
    bench, setting = Bench(model, wish, say), Setting("", model.defaults.steps)
    own = {name: weight.detach().clone() for name, weight in model.denoiser.named_parameters()}

    def measured(weights: dict[str, Tensor], seed: int | None = None) -> Numbers:
        copy(dict(model.denoiser.named_parameters()), weights, f"{run}: its averages")
        return bench.point(setting, seed).numbers

    present, points = measured(own), {}
    say(said("as trained", present))
    for length, weights in made.items():
        points[length] = measured(weights)
        say(said(f"length {length:.3g}", points[length]))
    chosen, fresh = min(points, key=lambda length: points[length]["frechet"].value), wish.seed + wish.n
    before, after = measured(own, fresh), measured(made[chosen], fresh)
    stored = after["frechet"].value < before["frechet"].value and not worse(after, before)
    if stored:
        store(run, model, chosen)
    found = Lengths(present, points, chosen, before, after, stored, bench.real, bench.protocol)
    (run / FILE).write_text(json.dumps(found.json(), indent=1), "utf-8")
    return found


def store(run: Path, model: Model, length: float) -> None:
    """Gives a run the weights that its model has; the file's header tells the length of the average."""
    path = run / FILES[2]
    _, header = read_weights(path)
    write_weights(path, model.denoiser.state_dict(), {**header, "ema_length": f"{length:g}"})


def read(run: Path) -> Lengths | None:
    """What was found of a run; None where nothing was asked.

    Raises:
        ValueError: If the file is not what `lengths` wrote.
    """
    file = run / FILE
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text("utf-8"))
        points = {float(row.pop("length")): numbers(row) for row in told["points"]}
        before, after = numbers(told["before"]), numbers(told["after"])
        stored, real, protocol = told["stored"], numbers(told["real"]), told["protocol"]
        return Lengths(numbers(told["present"]), points, told["chosen"], before, after, stored, real, protocol)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not what `unnoise sweep --ema` wrote ({error})") from error
