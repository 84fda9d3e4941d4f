"""How much of the samples looks like data, and how much of the data is found among the samples.

Either set is thought of as the union of balls: one around each of its points, out to that point's k-th neighbour in the set.
All features are rows (N, D); the distances of `CHUNK` rows are held at once. Compare sets of equal size.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unnoise.metric.base import Gathered, rows

CHUNK = 1024


class Fidelity(Gathered):
    """`precision` and `recall` with k = 3, `density` and `coverage` with k = 5, of samples against `real` features (N, D)."""

    def __init__(self, real: Tensor) -> None:
        super().__init__()
        self.real = rows(real, torch.float32)

    def compute(self) -> dict[str, float]:
        precision, recall = precision_recall(self.real, self.seen)
        density, coverage = density_coverage(self.real, self.seen)
        return {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def precision_recall(real: Tensor, samples: Tensor, k: int = 3) -> tuple[float, float]:
    """The share of samples within a ball of the real, and of the real within a ball of the samples.

    ValueError unless either set has more than k points.

    Reference: Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019, eq. 1-2.
    arXiv:1904.06991
    """
    real, samples = real.double(), samples.double()
    around_real, around_samples = radii(real, k), radii(samples, k)
    precise = [(d <= around_real).any(1) for d in distances(samples, real)]
    recalled = [(d <= around_samples).any(1) for d in distances(real, samples)]
    return float(torch.cat(precise).double().mean()), float(torch.cat(recalled).double().mean())


def density_coverage(real: Tensor, samples: Tensor, k: int = 5) -> tuple[float, float]:
    """How many balls of the real a sample lies in, over k; and the share of these balls that hold a sample.

    Density is about 1 for samples of the same distribution, and may exceed it; an outlier among the real counts for little.
    ValueError unless either set has more than k points.

    Reference: Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, 2020, eq. 3-4. arXiv:2002.09797
    """
    real, samples = real.double(), samples.double()
    _enough(samples, k)
    around_real = radii(real, k)
    inside = torch.cat([(d <= radius[:, None]).sum(1) for d, radius in zip(
        distances(real, samples), around_real.split(CHUNK), strict=True)])  # fmt: skip
    return float(inside.sum() / (k * len(samples))), float((inside > 0).double().mean())


def radii(x: Tensor, k: int) -> Tensor:
    """The distance of each point to its k-th nearest neighbour among the others, (N,)."""
    _enough(x, k)
    return torch.cat([d.kthvalue(k + 1, 1).values for d in distances(x, x)])  # the first neighbour is the point itself


def distances(x: Tensor, to: Tensor) -> Iterator[Tensor]:
    """The distances of each x to each of `to`, (CHUNK, N) at a time."""
    return (torch.cdist(part, to) for part in x.split(CHUNK))


def _enough(x: Tensor, k: int) -> None:
    if len(x) <= k:
        raise ValueError(f"{len(x)} points: more than k = {k} are needed for a k-th neighbour")
