"""How a run fares while it trains: does it copy, how far are its samples from the data, is the average ahead of the weights?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unnoise.domain import Dataset
from unnoise.loss import Denoising
from unnoise.metric import Moments, frechet, nearest
from unnoise.metric.base import Estimate
from unnoise.metric.features import Pooled
from unnoise.metric.interval import share
from unnoise.metric.memorization import NEAR
from unnoise.model import Model
from unnoise.task.bands import by_band
from unnoise.task.hooks.show import evaluations, with_denoiser
from unnoise.task.hooks.trend import told
from unnoise.task.report.history import History
from unnoise.tensor import permutation
from unnoise.train import State

SAMPLES = 64
SEARCHED = 5000  # training items among which neighbours are looked for
FRESH = 1000  # held-out items; where there are fewer than SAMPLES, training items stand in, each without itself
SEEN = Pooled(8)  # what the small Frechet distance compares
COPYING = 0.02  # share of near copies above half as many again as new data have


@dataclass(frozen=True)
class Health:
    """Looks at 64 samples of the averaged model, always of the same seeds, and writes a row `health`:

    `copies`, the share of them that are nearer to a training item than half of what new data typically are, beside
    `new_copies`, that of new data; `nearest`, the median distance over that of new data; `frechet`, a small Frechet distance
    (of pictures averaged to 8 x 8) beside `frechet_real`, that of as many held-out items; and `held_out_raw`, the loss of the
    newest weights, which `held_out` has of the averaged ones. New data are held-out ones, or else each training item as the
    others see it.

    An alarm is told in words as soon as copies are clearly more than among new data; at the end, how the losses went.
    """

    every: int
    model: Model
    objective: Denoising
    train: Dataset
    held_out: Dataset | None
    say: Callable[[str], object] = print

    @property
    def evaluations(self) -> int:
        """Of the network for one sample, in one call."""
        return evaluations(self.model, SAMPLES)

    def __call__(self, state: State) -> None:
        x = with_denoiser(self.model, state.averaged).sample(SAMPLES)
        distance = nearest(x, self.known)[0]
        copies, new = (share(d < NEAR * self.typical, 0.95) for d in (distance, self.fresh))
        moments = Moments(SEEN.features(x))
        row = {
            "copies": round(copies.value, 4),
            "new_copies": round(new.value, 4),
            "nearest": float(distance.median()) / self.typical,
            "frechet": frechet(self.reference, moments),
            "frechet_real": frechet(self.reference, self.real),
        }
        values: dict[str, Any] = {"health": row}
        if self.held_out is not None:
            state.model.eval()  # the trainer sets it to training again
            raw: Any = state.model
            values["held_out_raw"] = by_band(raw, self.model.learnt, self.objective, self.held_out)
        state.log(**values)
        if copying(copies, new):
            self.say(alarm(state.step, copies, new))
        if state.step == state.steps:
            for line in told(History.read(state.folder)):
                self.say(line)

    @cached_property
    def known(self) -> Tensor:
        """Training items, as they are and, where training mirrors them, mirrored."""
        x = _some(self.train, SEARCHED)
        return torch.cat([x, x.flip(-1)]) if getattr(self.train, "flip", False) else x

    @cached_property
    def fresh(self) -> Tensor:
        """The distance of each new item to the training items."""
        if self.held_out is not None and len(self.held_out) >= SAMPLES:
            return nearest(_some(self.held_out, FRESH), self.known)[0]
        return others(_some(self.train, FRESH))

    @cached_property
    def typical(self) -> float:
        """The median of `fresh`; never quite zero."""
        return max(float(self.fresh.median()), 1e-12)

    @cached_property
    def reference(self) -> Moments:
        return Moments(SEEN.features(_some(self.train, SEARCHED)))

    @cached_property
    def real(self) -> Moments:
        enough = self.held_out is not None and len(self.held_out) >= SAMPLES
        return Moments(SEEN.features(_some(self.held_out if enough and self.held_out else self.train, SAMPLES)))


def copying(copies: Estimate, new: Estimate) -> bool:
    """Whether near copies are clearly more than among new data."""
    return copies.low > max(1.5 * new.value + COPYING, new.high)


def alarm(step: int, copies: Estimate, new: Estimate) -> str:
    """What is said then."""
    return (
        f"ALARM at step {step:,}: {copies.value:.0%} of the samples are nearer to a training item than half of what new data are "
        f"(new data: {new.value:.0%}): it learns by heart; stop, or give more data, flips or dropout"
    )


def others(x: Tensor) -> Tensor:
    """The distance of each item to the nearest of the others, (N, ...) -> (N,); infinite where there is no other."""
    flat = x.flatten(1).double()
    found = torch.cdist(flat, flat) / flat.shape[1] ** 0.5
    found.fill_diagonal_(torch.inf)
    return found.min(1).values


def _some(data: Dataset, most: int) -> Tensor:
    return data.batch(permutation(len(data), 0, "health")[:most])["x"]
