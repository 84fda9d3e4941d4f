"""What the model makes for a report: samples to show, and one walk to watch."""

from __future__ import annotations

import itertools
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
    """What is shown of a model besides its numbers.

    Args:
        shown: Samples, unpicked; rows of ten, a row for each class if the model takes one.
        film: One walk.
    """

    shown: Tensor
    film: list[Frame]


def walks(model: Model, real: Real, seed: int) -> Walks:
    """Samples by the model's own sampler, of seeds `seed`, `seed + 1`, ..."""
    cond = {name: values[: SHOWN * SHOWN] for name, values in real.train.items() if name in model.denoiser.conds}
    shown_cond, watched = _to_show(cond, real), WATCHED
    if len(model.domain.shape) == 3:
        count = len(next(iter(shown_cond.values()))) if shown_cond else SHOWN * SHOWN
        shown = model.sample(count, seed=seed, cond=shown_cond)
        some = {name: values[:: len(values) // WATCHED][:WATCHED] for name, values in shown_cond.items()}
    else:
        watched = CLOUD
        some = {name: values[torch.arange(watched) % len(values)] for name, values in cond.items()}
        shown = model.sample(watched, seed=seed, cond=some)
    moments: list[Moment] = []
    model.sample(watched, seed=seed, cond=some, callback=moments.append)
    return Walks(shown, film(moments, model))


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
