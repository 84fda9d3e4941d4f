"""Maximum mean discrepancy: how far two sets lie apart in the space of all functions that a kernel k spans.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)

over independent x, x' of one set and y, y' of the other. The estimate takes all pairs of different items; it is unbiased, so that
it may be below zero, and numbers of different counts may be compared.

Reference: Gretton et al., A Kernel Two-Sample Test, 2012, lemma 6, eq. 3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from unnoise.metric.base import LEVEL, Estimate, Gathered, some
from unnoise.metric.interval import around

CHUNK = 128  # rows whose kernel with all others is held at once
EXACT = 5000  # rows of sets that are compared in float64; larger ones are in float32
PAIRED = 10_000  # rows that are compared with each other
MEASURED = 1000  # rows whose distances give a bandwidth

Kernel = Callable[[Tensor, Tensor], Tensor]  # (N, D), (M, D) -> (N, M)


def cubic(x: Tensor, y: Tensor) -> Tensor:
    """(x y / D + 1)^3: the means, variances and third moments of features count."""
    inner = torch.addmm(torch.ones((), dtype=x.dtype), x, y.T, alpha=1 / x.shape[1])
    return inner.square().mul_(inner)


def mmd2(x: Tensor, y: Tensor, kernel: Kernel = cubic) -> float:
    """The unbiased estimate of MMD^2 of x, (N, D), and y, (M, D); ValueError for fewer than two of either.

    Reference: with the cubic kernel KID, Binkowski et al., Demystifying MMD GANs, 2018, section 4. arXiv:1801.01401
    """
    x, y = x.double(), y.double()
    return float(_within(x, kernel).mean() + _within(y, kernel).mean() - 2 * _between(x, y, kernel).mean())


class _Discrepancy(Gathered):
    """MMD^2 under `kernel`, of at most 10,000 samples and as many of the reference."""

    limit = PAIRED
    name: str

    def __init__(self, reference: Tensor) -> None:
        super().__init__()
        self.reference = some(reference, PAIRED).double()

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        x = self.seen
        dtype = torch.float64 if max(len(x), len(self.reference)) <= EXACT else torch.float32
        within, between = _within(x.to(dtype), self.kernel), _between(x.to(dtype), self.reference.to(dtype), self.kernel)
        value = float(within.mean() + self._own - 2 * between.mean())
        return {self.name: around(value, 2 * (within - between), level)}

    @cached_property
    def _own(self) -> Tensor:
        dtype = torch.float64 if len(self.reference) <= EXACT else torch.float32
        return _within(self.reference.to(dtype), self.kernel).mean()


class KernelDistance(_Discrepancy):
    """`kid`: MMD^2 of features under the cubic kernel (x y / D + 1)^3. The reference is (M, D).

    Reference: Binkowski et al., Demystifying MMD GANs, 2018, section 4. arXiv:1801.01401
    """

    name = "kid"

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        return cubic(x, y)


class Discrepancy(_Discrepancy):
    """`mmd`: MMD^2 of points under exp(-|x - y|^2 / (2 h^2)), h the median distance of points of the reference, (M, D).

    Reference: Gretton et al., A Kernel Two-Sample Test, 2012, lemma 6 and section 8 (the bandwidth).
    """

    name = "mmd"

    def __init__(self, reference: Tensor) -> None:
        super().__init__(reference)
        self.bandwidth = float(torch.pdist(self.reference[:MEASURED]).median().clamp(min=1e-12))

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y).div_(self.bandwidth).square_().div_(-2).exp_()


def _within(x: Tensor, kernel: Kernel) -> Tensor:
    """The mean of each row's kernel with the other rows, (N,)."""
    n = len(x)
    if n < 2:
        raise ValueError(f"{n} samples: at least 2 are compared with each other")
    sums = torch.zeros(n, dtype=torch.float64)
    for first in range(0, n, CHUNK):  # every pair once: the kernel is symmetric
        found = kernel(x[first : first + CHUNK], x[first:])
        size = len(found)
        sums[first : first + size] += found.sum(1).double() - found.diagonal().double()
        sums[first + size :] += found[:, size:].sum(0).double()
    return sums / (n - 1)


def _between(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """The mean of each row's kernel with the rows of y, (N,)."""
    return torch.cat([kernel(part, y).mean(1).double() for part in x.split(CHUNK)])
