"""Frechet distance: how far the Gaussians with the first two moments of two sets lie from each other.

    d^2 = |mean_a - mean_b|^2 + tr C_a + tr C_b - 2 tr (C_a^(1/2) C_b C_a^(1/2))^(1/2)

The last trace is the sum of the singular values of C_a^(1/2) C_b^(1/2): symmetric roots alone, so that it is real and finite for
covariances of any rank, and exact where the root of a product would be half lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from unnoise.metric.base import LEVEL, Estimate, Kept, Metric, rows
from unnoise.metric.interval import around

PARTS = 4  # of the samples, for the extrapolation
VARIED = 5000  # rows whose influence gives the interval


class Moments:
    """Mean (D,) and covariance (D, D) of a stream of rows, in float64; parts merge without loss.

    Reference: Chan et al., Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979, eq. 2.1.
    """

    def __init__(self, x: Tensor | None = None) -> None:
        self.n = 0
        self.mean = torch.zeros(0, dtype=torch.float64)
        self.scatter = torch.zeros(0, 0, dtype=torch.float64)  # sum of (x - mean)(x - mean)^T
        if x is not None:
            self.update(x)

    def update(self, x: Tensor) -> Self:
        """See more rows, (B, ...)."""
        x = rows(x, torch.float64)
        part = Moments()
        part.n, part.mean = len(x), x.mean(0)
        part.scatter = (x - part.mean).T @ (x - part.mean)
        return self.merge(part) if len(x) else self

    def merge(self, other: Moments) -> Self:
        """See what another has seen."""
        if not self.n or not other.n:
            if other.n:
                self.n, self.mean, self.scatter = other.n, other.mean, other.scatter
            return self
        n, shift = self.n + other.n, other.mean - self.mean
        self.scatter = self.scatter + other.scatter + torch.outer(shift, shift) * (self.n * other.n / n)
        self.mean = self.mean + shift * (other.n / n)
        self.n = n
        return self

    @property
    def covariance(self) -> Tensor:
        """Unbiased; ValueError for fewer than two rows."""
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 samples, given {self.n}")
        return self.scatter / (self.n - 1)


def frechet(a: Moments, b: Moments) -> float:
    """The squared Frechet distance d^2 of two sets; with features of an Inception network it is the FID.

    It is biased upwards by few samples: compare numbers of equally many. ValueError for fewer than two.

    Reference: Dowson and Landau, The Frechet Distance between Multivariate Normal Distributions, 1982, eq. 4; Heusel et al.,
    GANs Trained by a Two Time-Scale Update Rule, 2017, eq. 6. arXiv:1706.08500
    """
    cov_a, cov_b = a.covariance, b.covariance
    together = torch.linalg.svdvals(_root(cov_a) @ _root(cov_b)).sum()
    distance = (a.mean - b.mean).square().sum() + cov_a.trace() + cov_b.trace() - 2 * together
    return max(float(distance), 0.0)


class Frechet(Metric):
    """The Frechet distance of samples to a reference, given as rows of features (N, D) or as their moments.

    Computes `frechet`, of as many samples as were seen; and, where a quarter of them outnumbers the features, `frechet_infinity`,
    what the distance of infinitely many would be: its expectation is a + b / N to first order, and the line is drawn through the
    distances of all, of the halves and of the quarters of the samples. Their positions say which samples are in which part.
    Time D^3 for each of the seven, memory 7 D^2.

    The influence of a sample x with d = x - mean_b and T the linear map that takes the samples' Gaussian to the reference's:

        2 (mean_b - mean_a) d + d (I - T) d,    T = C_b^(-1/2) (C_b^(1/2) C_a C_b^(1/2))^(1/2) C_b^(-1/2)

    Reference: Chong and Forsyth, Effectively Unbiased FID and Inception Score and Where to Find Them, 2020, section 3.
    arXiv:1911.07023
    """

    def __init__(self, reference: Tensor | Moments) -> None:
        self.reference = reference if isinstance(reference, Moments) else Moments(reference)
        self.parts = [Moments() for _ in range(PARTS)]
        self.kept = Kept(VARIED)

    def update(self, x: Tensor) -> None:
        x = rows(x, torch.float64)
        first = self.kept.n
        for k, part in enumerate(self.parts):
            part.update(x[(k - first) % PARTS :: PARTS])
        self.kept.add(x.float())

    def merge(self, other: Self) -> None:
        for mine, its in zip(self.parts, other.parts, strict=True):
            mine.merge(its)
        self.kept.merge(other.kept)

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        whole = _sum(self.parts)
        value = frechet(self.reference, whole)
        influence = self.influence()
        half = max(whole.n / len(influence), 1) ** -0.5  # the interval is of all samples, the influence of those kept
        found = around(value, half * influence, level)
        numbers = {"frechet": found}
        if min(part.n for part in self.parts) > len(whole.mean):
            halves = [_sum(self.parts[:2]), _sum(self.parts[2:])]
            two, four = (sum(frechet(self.reference, p) for p in parts) / len(parts) for parts in (halves, self.parts))
            limit = value + (two - four) / 2  # least squares through 1, 2 and 4 parts, at 0
            numbers["frechet_infinity"] = Estimate(limit, limit + found.low - value, limit + found.high - value)
        return numbers

    def influence(self) -> Tensor:
        """Of the samples that are kept, (N,): the difference of two of these is that of a difference of two distances."""
        whole = _sum(self.parts)
        values, vectors = _eigen(whole.covariance)
        white = torch.where(values > 0, values, 1).rsqrt() * (values > 0)
        root = _root(self.reference.covariance) @ (vectors * values.sqrt())
        stretch = torch.linalg.svd(root, full_matrices=False)
        d = self.kept.rows.double() - whole.mean
        turned = (d @ vectors * white) @ stretch.Vh.T
        return 2 * d @ (whole.mean - self.reference.mean) + d.square().sum(1) - (turned.square() * stretch.S).sum(1)


def _sum(parts: Sequence[Moments]) -> Moments:
    whole = Moments()
    for part in parts:
        whole.merge(part)
    return whole


def _eigen(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors. Those at the level of rounding are zero: their roots would not be small."""
    values, vectors = torch.linalg.eigh(covariance)
    return torch.where(values > values[-1] * len(values) * torch.finfo(values.dtype).eps, values, 0), vectors


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root."""
    values, vectors = _eigen(covariance)
    return (vectors * values.sqrt()) @ vectors.T
