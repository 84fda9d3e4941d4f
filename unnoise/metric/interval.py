"""How sure a number is."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import torch
from torch import Tensor

from unnoise.tensor import Rng

DRAWN = 2**18  # row numbers drawn at once


def interval(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] | None = None,
    *,
    level: float = 0.95,
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
    ends = torch.stack(draws).quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64))
    return float(ends[0]), float(ends[1])


def share_interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a probability of which `hits` of n trials are known; sound at 0 and n hits too, where resampling sees nothing.

    Reference: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927, eq. 5.
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"{hits} hits of {n}: expected 0 <= hits <= n and n >= 1")
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre, half = hits + z**2 / 2, z * math.sqrt(hits * (n - hits) / n + z**2 / 4)
    return (centre - half) / (n + z**2), (centre + half) / (n + z**2)
