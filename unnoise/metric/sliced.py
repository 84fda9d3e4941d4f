"""Sliced Wasserstein distance: along many lines, how far the points would have to be moved to become the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unnoise.metric.base import LEVEL, Estimate, Gathered, some
from unnoise.metric.interval import around
from unnoise.tensor import Rng

LINES = 128


class SlicedWasserstein(Gathered):
    """`sliced_wasserstein` of points to a reference (M, D), in the points' own unit.

        SW^2 = mean over directions of the integral over u in [0, 1] of (F^-1(u) - G^-1(u))^2 du

    with F^-1 and G^-1 the quantile functions of both sets along the direction. 128 directions, always the same. It is biased
    upwards by few samples, much less than a distance in D dimensions.

    Reference: Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures, 2015, eq. 12 and 14.
    """

    def __init__(self, reference: Tensor) -> None:
        super().__init__()
        reference = some(reference).double()
        directions = Rng(0, torch.arange(LINES)).normal((reference.shape[1],), "sliced wasserstein", dtype=torch.float64)
        self.directions = directions / directions.norm(dim=1, keepdim=True)  # (LINES, D)
        self.reference = (self.directions @ reference.T).sort(1).values  # (LINES, M)

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        along = self.directions @ self.seen.double().T  # (LINES, N)
        n = along.shape[1]
        values, order = along.sort(1)
        quantiles = _quantiles(self.reference, n)
        squared = float((values - quantiles).square().mean())
        potential = _potential(values, 2 * (values - quantiles))
        influence = torch.zeros_like(potential).scatter_(1, order, potential).mean(0)
        found = around(squared, influence, level)
        ends = [math.sqrt(max(end, 0)) for end in found]
        return {"sliced_wasserstein": Estimate(*ends)}


def _quantiles(ordered: Tensor, n: int) -> Tensor:
    """The quantile function of each row of sorted values, (L, M), at the middles of n equal steps, (L, n)."""
    m = ordered.shape[1]
    place = ((torch.arange(n, dtype=torch.float64) + 0.5) * m / n - 0.5).clamp(0, m - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=m - 1)
    return torch.lerp(ordered[:, low], ordered[:, high], place - low)


def _potential(x: Tensor, slope: Tensor) -> Tensor:
    """The integral of a slope over sorted places x, from the first: its values at all of them."""
    steps = (x[:, 1:] - x[:, :-1]) * (slope[:, 1:] + slope[:, :-1]) / 2
    return torch.cat([torch.zeros_like(x[:, :1]), steps.cumsum(1)], 1)
