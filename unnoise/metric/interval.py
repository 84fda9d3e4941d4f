"""How sure a number is.

Means are resampled. A smooth number f of the distribution is, to first order, the mean of its influence: how much one more
sample would move it (Hampel, The Influence Curve and Its Role in Robust Estimation, 1974, eq. 2.1),

    f(samples) ~ f + mean_i influence(x_i)

so that its interval is that of a mean too, at no more than the cost of the number itself. Resampling f would be slow, and wrong
for distances: a resample repeats samples, which lies further off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import torch
from torch import Tensor

from unnoise.metric.base import LEVEL, Estimate
from unnoise.tensor import Rng

DRAWN = 2**18  # row numbers drawn at once
FEW = 2000  # values whose mean is resampled; of more it is normal


def interval(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] | None = None,
    *,
    level: float = LEVEL,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of a statistic (default: the mean) of the rows of `values`, (N, ...): the percentile method.

    The same arguments give the same interval. `statistic` takes one resample, (N, ...), and gives a number.

    Reference: Efron, Bootstrap Methods: Another Look at the Jackknife, 1979, section 2.
    """
    n = len(values)
    if n < 2 or not 0 < level < 1:
        raise ValueError(f"an interval needs at least 2 values and a level in (0, 1), given {n} and {level:g}")
    statistic = statistic or (lambda x: x.mean())
    draws = [
        statistic(values[rows]).double()
        for some in torch.arange(resamples).split(max(DRAWN // n, 1))
        for rows in Rng(seed, some).integers(n, (n,), "bootstrap")
    ]
    return _ends(torch.stack(draws), level)


def mean_interval(values: Tensor, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the mean of values, (N,): resampled up to 2,000 of them, normal beyond. Infinite for fewer than two."""
    n, values = len(values), values.double()
    if n < 2:
        return -math.inf, math.inf
    if n > FEW:
        half = _z(level) * float(values.std()) / math.sqrt(n)
        return float(values.mean()) - half, float(values.mean()) + half
    return _ends(_counts(n) @ values / n, level)


def around(value: float, influence: Tensor, level: float = LEVEL) -> Estimate:
    """A number with the interval of the mean of its influence, (N,), which is centred here."""
    low, high = mean_interval(influence - influence.mean(), level)
    return Estimate(value, value + low, value + high)


def linear(value: float, gradient: Tensor, covariance: Tensor, n: int, level: float = LEVEL) -> Estimate:
    """A function of a mean of n rows with its normal interval, by its gradient (D,) and the rows' covariance (D, D)."""
    half = _z(level) * math.sqrt(max(float(gradient @ covariance @ gradient), 0) / n)
    return Estimate(value, value - half, value + half)


def share(hits: Tensor, level: float = LEVEL) -> Estimate:
    """The share of True among hits, (N,), with its interval."""
    n, found = len(hits), int(hits.sum())
    return Estimate(found / n, *share_interval(found, n, level))


def share_interval(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a probability of which `hits` of n trials are known; sound at 0 and n hits too, where resampling sees nothing.

    Reference: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927, eq. 5.
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"{hits} hits of {n}: expected 0 <= hits <= n and n >= 1")
    z = _z(level)
    centre, half = hits + z**2 / 2, z * math.sqrt(hits * (n - hits) / n + z**2 / 4)
    return (centre - half) / (n + z**2), (centre + half) / (n + z**2)


@lru_cache(maxsize=4)
def _counts(n: int, resamples: int = 1000) -> Tensor:
    """How often each of n values is drawn in each resample, (resamples, n)."""
    counts = torch.zeros(resamples, n, dtype=torch.float64)
    for some in torch.arange(resamples).split(max(DRAWN // n, 1)):
        drawn = Rng(0, some).integers(n, (n,), "bootstrap")
        counts[some] = torch.zeros(len(some), n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn).double())
    return counts


def _ends(draws: Tensor, level: float) -> tuple[float, float]:
    ends = draws.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64))
    return float(ends[0]), float(ends[1])


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)
