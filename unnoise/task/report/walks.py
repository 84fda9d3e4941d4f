"""What the model makes for a report: samples to score, samples to show, and one walk to watch."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from unnoise.model import Model
from unnoise.sampler import Moment
from unnoise.task.evaluate.real import Real, Rows

SHOWN = 10  # samples of each class, and classes, that are shown
FILM = 8  # frames
WATCHED = 3  # pictures in the film
CLOUD = 500  # points in one plot


class Frame(NamedTuple):
    """The state x_t and the estimate of x made from it, (B, *shape)."""

    t: float
    x: Tensor
    x0: Tensor


@dataclass(frozen=True)
class Walks:
    """Samples.

    Args:
        x: To score, (N, *shape); sample i has seed `seed + i` and the conditions of the i-th real item.
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


def walks(model: Model, real: Real, n: int, steps: int | None, seed: int = 0) -> Walks:
    """Samples by the model's own sampler, of seeds `seed`, `seed + 1`, ...; n of them are scored."""
    first, second = real.halves
    rows = torch.cat([second, first]).repeat(-(-n // (2 * len(first))))[:n]
    cond = {name: real.train[name][rows] for name in model.denoiser.conds if name in real.train}
    started = time.perf_counter()
    x = model.sample(n, seed=seed, steps=steps, cond=cond)
    seconds = (time.perf_counter() - started) / n
    shown_cond, watched = _to_show(cond, real), WATCHED
    if len(model.domain.shape) == 3:
        count = len(next(iter(shown_cond.values()))) if shown_cond else SHOWN * SHOWN
        shown = model.sample(count, seed=seed, steps=steps, cond=shown_cond)
        some = {name: values[:: len(values) // WATCHED][:WATCHED] for name, values in shown_cond.items()}
    else:
        shown, watched = x, min(n, CLOUD)
        some = {name: values[:watched] for name, values in cond.items()}
    moments: list[Moment] = []
    model.sample(watched, seed=seed, steps=steps, cond=some, callback=moments.append)
    frames = film(moments, model)
    return Walks(x, cond.get(str(real.label)), shown, frames, seconds, moments[-1].nfe, moments[-1].k + 1)


def film(moments: Sequence[Moment], model: Model) -> list[Frame]:
    """A few frames of a walk, evenly spaced, the last one among them; of all batches together."""
    walk: list[list[Moment]] = [[] for _ in range(moments[-1].k + 1)]
    for moment in moments:
        walk[moment.k].append(moment)
    states = [(m[0].t, torch.cat([one.x for one in m]), torch.cat([one.x0 for one in m])) for m in walk]
    pairs = list(itertools.pairwise(states))  # the estimate that follows a state was made from it
    chosen = sorted({round(k) for k in torch.linspace(0, len(pairs) - 1, FILM).tolist()}) if pairs else []
    decode, frames = model.codec.decode, []
    for k in chosen:
        (t, x, _), (_, _, x0) = pairs[k]
        frames.append(Frame(t, decode(unit(model, x, t)).cpu(), decode(x0).cpu()))
    return frames


def unit(model: Model, x_t: Tensor, t: float) -> Tensor:
    """x_t brought to the scale of x where its noise has outgrown that, to be shown."""
    alpha, sigma = model.denoiser.schedule(torch.tensor(t, dtype=torch.float64))
    return x_t / max(1.0, float((alpha**2 + sigma**2).sqrt()))


def _to_show(cond: Rows, real: Real) -> Rows:
    """The conditions of the samples that are shown: rows of ten, a row for each class."""
    count = SHOWN * min(len(real.classes), SHOWN) if real.label in cond else SHOWN * SHOWN
    rows = torch.arange(count)
    return {name: rows // SHOWN if name == real.label else values[rows % len(values)] for name, values in cond.items()}
