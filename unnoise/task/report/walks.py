"""What the model makes for a report: samples to score, samples to show, and one walk to watch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from unnoise.model import Model
from unnoise.sampler import Moment
from unnoise.task.report.real import Real

SHOWN = 10  # samples of each class, and classes, that are shown
FILM = 8  # frames
WATCHED = 3  # samples in the film; of points all


class Frame(NamedTuple):
    """The state x_t and the estimate of x made from it, (B, *shape)."""

    t: float
    x: Tensor
    x0: Tensor


@dataclass(frozen=True)
class Walks:
    """Samples.

    Args:
        x: To score, (N, *shape); sample i has seed i and the conditions of the i-th real item.
        asked: The class that each was asked for, (N,), if the model takes one.
        shown: To show, unpicked; rows of ten, a row for each class if the model takes one.
        film: One walk.
        seconds: For one sample, on average.
        nfe, steps: Network evaluations and times of a walk.
    """

    x: Tensor
    asked: Tensor | None
    shown: Tensor
    film: list[Frame]
    seconds: float
    nfe: int
    steps: int


def walks(model: Model, real: Real, n: int, steps: int | None) -> Walks:
    """Samples by the model's own sampler; n of them are scored."""
    taken = [name for name in model.denoiser.conds if name in real.train]
    first, second = real.halves
    rows = torch.cat([second, first]).repeat(-(-n // (2 * len(first))))[:n]
    cond = {name: real.train[name][rows] for name in taken}
    moments: list[Moment] = []
    started = time.perf_counter()
    x = model.sample(n, seeds=range(n), steps=steps, cond=cond, callback=moments.append if n == 1 else None)
    seconds = (time.perf_counter() - started) / n
    conditional = real.label in taken
    count = SHOWN * min(len(real.classes), SHOWN) if conditional else SHOWN * SHOWN
    shown_cond = {name: values[:1].expand(count, *values.shape[1:]) for name, values in cond.items()}
    if conditional:
        shown_cond[str(real.label)] = torch.arange(count) // SHOWN
    shown = model.sample(count, seeds=range(count), steps=steps, cond=shown_cond)
    watched = WATCHED if len(model.domain.shape) == 3 else min(n, 500)
    some = {name: values[:: max(count // watched, 1)][:watched] for name, values in shown_cond.items()}
    model.sample(watched, seeds=range(watched), steps=steps, cond=some, callback=moments.append)
    return Walks(x, cond.get(str(real.label)), shown, film(moments, model), seconds, moments[-1].nfe, len(moments))
