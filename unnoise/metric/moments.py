"""Frechet distance: how far the Gaussians with the first two moments of two sets lie from each other.

    d^2 = |mean_a - mean_b|^2 + tr C_a + tr C_b - 2 tr (C_a^(1/2) C_b C_a^(1/2))^(1/2)

The last trace is the sum of the singular values of C_a^(1/2) C_b^(1/2): symmetric roots alone, so that it is real and finite for
covariances of any rank, and exact where the root of a product would be half lost.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from unnoise.metric.base import Metric, rows


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
    """The Frechet distance of samples to a reference, given as rows of features (N, D) or as their moments."""

    def __init__(self, reference: Tensor | Moments) -> None:
        self.reference = reference if isinstance(reference, Moments) else Moments(reference)
        self.moments = Moments()

    def update(self, x: Tensor) -> None:
        self.moments.update(x)

    def merge(self, other: Self) -> None:
        self.moments.merge(other.moments)

    def compute(self) -> dict[str, float]:
        return {"frechet": frechet(self.reference, self.moments)}


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root. Eigenvalues at the level of rounding are zero: their roots would not be small."""
    values, vectors = torch.linalg.eigh(covariance)
    values = torch.where(values > values[-1] * len(values) * torch.finfo(values.dtype).eps, values, 0)
    return (vectors * values.sqrt()) @ vectors.T
