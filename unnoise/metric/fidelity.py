"""How much of the samples looks like data, and how much of the data is found among the samples.

Either set is thought of as the union of balls: one around each of its points, out to that point's k-th neighbour in the set.
All features are rows (N, D); the squared distances of `CHUNK` rows are held at once, in float64 for sets of up to 5,000 points
and in float32 for larger ones, seen from their mean. Compare sets of equal size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unnoise.metric.base import LEVEL, Estimate, Gathered, some
from unnoise.metric.interval import around, share

CHUNK = 512
EXACT = 5000  # points of sets that are compared in float64


class Balls(NamedTuple):
    """What lies in which balls, of M real and N sampled points.

    Args:
        precise: The sample lies in a ball of the real, (N,).
        recalled: The real point lies in a ball of the samples, (M,).
        inside: In how many balls of the real (of the second k) the sample lies, (N,).
        covered: Whether the ball of the real point (of the second k) holds a sample, (M,).
    """

    precise: Tensor
    recalled: Tensor
    inside: Tensor
    covered: Tensor


class Fidelity(Gathered):
    """`precision` and `recall` with k = 3, `density` and `coverage` with k = 5, of samples against `real` features (N, D).

    Of more than `limit` (20,000) of either a random subset is compared. Intervals of precision and density speak of the samples,
    those of recall and coverage of the real points. Time 3 N^2 D, all pairs exactly.

    Reference: Kynkaanniemi et al., 2019, eq. 1-2, arXiv:1904.06991; Naeem et al., 2020, eq. 3-4, arXiv:2002.09797
    """

    def __init__(self, real: Tensor, limit: int | None = None) -> None:
        self.limit = limit or self.limit
        super().__init__()
        self.real = some(real, self.limit)

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        found = balls(self.real, self.seen)
        density = found.inside.double() / DENSITY
        return {
            "precision": share(found.precise, level),
            "recall": share(found.recalled, level),
            "density": around(float(density.mean()), density, level),
            "coverage": share(found.covered, level),
        }


PRECISION, DENSITY = 3, 5  # the k of either pair of numbers


def balls(real: Tensor, samples: Tensor, k: int = PRECISION, k_density: int = DENSITY) -> Balls:
    """Which points lie in which balls. ValueError unless either set has more than k points."""
    _enough(samples, k_density)
    real, samples = _comparable(real, samples)
    around_samples = radii(samples, (k,))[:, 0]
    around_real = radii(real, (k, k_density))
    precise = torch.zeros(len(samples), dtype=torch.bool)
    inside = torch.zeros(len(samples), dtype=torch.long)
    recalled, covered = [], []
    for d, radius in zip(_squared(real, samples), around_real.split(CHUNK), strict=True):
        recalled.append((d <= around_samples).any(1))
        precise |= (d <= radius[:, :1]).any(0)
        within = d <= radius[:, 1:]
        inside += within.sum(0)
        covered.append(within.any(1))
    return Balls(precise, torch.cat(recalled), inside, torch.cat(covered))


def _comparable(*sets: Tensor) -> list[Tensor]:
    """Sets in one precision, seen from the mean of the first."""
    dtype = torch.float64 if max(map(len, sets)) <= EXACT else torch.float32
    centre = sets[0].double().mean(0)
    return [(x.double() - centre).to(dtype) for x in sets]


def precision_recall(real: Tensor, samples: Tensor, k: int = PRECISION) -> tuple[float, float]:
    """The share of samples within a ball of the real, and of the real within a ball of the samples.

    ValueError unless either set has more than k points.

    Reference: Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019, eq. 1-2.
    arXiv:1904.06991
    """
    found = balls(real, samples, k, k)
    return float(found.precise.double().mean()), float(found.recalled.double().mean())


def density_coverage(real: Tensor, samples: Tensor, k: int = DENSITY) -> tuple[float, float]:
    """How many balls of the real a sample lies in, over k; and the share of these balls that hold a sample.

    Density is about 1 for samples of the same distribution, and may exceed it; an outlier among the real counts for little.
    ValueError unless either set has more than k points.

    Reference: Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, 2020, eq. 3-4. arXiv:2002.09797
    """
    found = balls(real, samples, k, k)
    return float(found.inside.double().mean() / k), float(found.covered.double().mean())


def radii(x: Tensor, ks: Sequence[int]) -> Tensor:
    """The squared distance of each point to its k-th nearest neighbour among the others, for each k, (N, len(ks))."""
    _enough(x, max(ks))
    least = torch.cat([d.topk(max(ks) + 1, largest=False).values for d in _squared(x, x)])
    return least[:, list(ks)]  # the first neighbour is the point itself


def _squared(x: Tensor, to: Tensor) -> Iterator[Tensor]:
    """The squared distances of each x to each of `to`, (CHUNK, N) at a time; the same pair always gives the same number."""
    norms, other = x.square().sum(1, keepdim=True), to.square().sum(1)
    for part, norm in zip(x.split(CHUNK), norms.split(CHUNK), strict=True):
        yield torch.addmm(other, part, to.T, alpha=-2).add_(norm).clamp_(min=0)


def distances(x: Tensor, to: Tensor) -> Iterator[Tensor]:
    """The distances of each x to each of `to`, (CHUNK, N) at a time."""
    return (torch.cdist(part, to) for part in x.split(CHUNK))


def _enough(x: Tensor, k: int) -> None:
    if len(x) <= k:
        raise ValueError(f"{len(x)} points: more than k = {k} are needed for a k-th neighbour")
