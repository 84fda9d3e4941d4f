"""Does the model copy its training data? Distances to the nearest training item, beside those of data it has never seen."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from unnoise.metric.base import LEVEL, Estimate, Gathered, rows
from unnoise.metric.interval import interval, mean_interval, share
from unnoise.tensor import permutation

CHUNK = 1024  # rows whose distances to all others are held at once
SEARCHED = 5000  # samples, and items of the held-out data, whose neighbours are looked for
NEAR = 0.5  # of the median distance of held-out items: nearer than that is a near copy


def nearest(x: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to and row of the nearest of `data`, (N, ...), for each of x, (B, ...): two of (B,).

    The distance is the root of the mean square over all values, so it does not grow with the size of pictures.
    """
    x, data = x.flatten(1), data.flatten(1)
    norms = data.square().sum(1)
    index = torch.cat([torch.addmm(norms, part, data.T, alpha=-2).argmin(1) for part in x.split(CHUNK)])
    distance = torch.cat([(a - data[i]).square().mean(1) for a, i in zip(x.split(CHUNK), index.split(CHUNK), strict=True)])
    return distance.sqrt(), index


class Memorization(Gathered):
    """Nearest-neighbour distances of samples against those of held-out data.

    Computes `to_train` and `held_out_to_train` (medians of the distance to the nearest training item) and their `ratio`;
    `copies`, the share of samples nearer to a training item than half of the held-out data's median, and `held_out_copies`, the
    share of held-out data that are; `favour`, the share of samples that are nearer to the training data than to as many held-out
    items: 0.5 without memory, 0.5 + min(N, M) / (2 N) for copies (ties count half). At most 5,000 samples are looked at.

    Args:
        train: What the model was trained on, (N, ...).
        held_out: Data of the same kind that it never saw, (M, ...).
        seed: Of the choice of min(N, M) items from either.

    Reference: the third is the question of Meehan et al., A Non-Parametric Test to Detect Data-Copying in Generative Models,
    2020, section 3, asked for both sets of equal size. arXiv:2004.05675
    """

    limit = SEARCHED

    def __init__(self, train: Tensor, held_out: Tensor, seed: int = 0) -> None:
        super().__init__()
        self._searched: tuple[int, Tensor, Tensor] | None = None
        self.train, self.held_out, self.seed = rows(train, torch.float32), rows(held_out, torch.float32), seed

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        x = self.seen
        distance, real = self._found()[0].double(), self._real.double()
        unit = real.median().clamp(min=1e-12)
        n = min(len(self.train), len(self.held_out))
        few = [data[permutation(len(data), self.seed, "memorization")[:n]] for data in (self.train, self.held_out)]
        to_train, to_held_out = (nearest(x, data)[0] for data in few)
        favour = (to_train < to_held_out).double() + (to_train == to_held_out).double() / 2
        ends = interval(distance, torch.median, level=level, resamples=400)
        return {
            "to_train": Estimate(float(distance.median()), *ends),
            "held_out_to_train": Estimate(float(real.median()), *interval(real, torch.median, level=level, resamples=400)),
            "ratio": Estimate(*(float(value / unit) for value in (distance.median(), *ends))),
            "copies": share(distance < NEAR * real.median(), level),
            "held_out_copies": share(real < NEAR * real.median(), level),
            "favour": Estimate(float(favour.mean()), *mean_interval(favour, level)),
        }

    def closest(self, n: int) -> list[tuple[Tensor, int, float]]:
        """The n samples nearest to the training data, each as a row (D,), its neighbour's number, and their distance over the
        held-out data's median.
        """
        distance, index = self._found()
        unit = self._real.median().clamp(min=1e-12)
        return [(self.seen[i], int(index[i]), float(distance[i] / unit)) for i in distance.argsort()[:n].tolist()]

    def distances(self) -> tuple[Tensor, Tensor]:
        """Of the samples (N,) and of the held-out data (M,) to the training data, over the latter's median."""
        unit = self._real.median().clamp(min=1e-12)
        return self._found()[0] / unit, self._real / unit

    def _found(self) -> tuple[Tensor, Tensor]:
        """The distance to and the number of the nearest training item of each sample, searched once."""
        if self._searched is None or self._searched[0] != self.kept.n:
            self._searched = self.kept.n, *nearest(self.seen, self.train)
        return self._searched[1:]

    @cached_property
    def _real(self) -> Tensor:
        """The distances of held-out data to the training data."""
        return nearest(self.held_out[:SEARCHED], self.train)[0]
