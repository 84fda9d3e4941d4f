"""How different samples are from each other, beside how different data are."""

from __future__ import annotations

import torch
from torch import Tensor

from unnoise.metric.base import LEVEL, Estimate, Gathered, some
from unnoise.metric.fidelity import distances
from unnoise.metric.interval import around

PAIRED = 10_000  # samples that are compared with each other
VARIED = 4000  # of the reference


class Diversity(Gathered):
    """`diversity`, the mean distance of two samples over that of two of the reference (M, D); `vendi`, how many kinds there are.

        vendi = exp(-sum_i lambda_i log lambda_i)

    with lambda the eigenvalues of K / N, K the cosines between samples, seen from the reference's mean: N samples all alike make
    1, N at right angles N. At most 10,000 samples are compared.

    Reference: Friedman and Dieng, The Vendi Score, 2023, definition 3.1. arXiv:2210.02410
    """

    limit = PAIRED

    def __init__(self, reference: Tensor) -> None:
        super().__init__()
        reference = some(reference, VARIED).double()
        self.centre, self.apart = reference.mean(0), float(apart(reference).mean().clamp(min=1e-12))

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        x = self.seen.double()
        own = apart(x) / self.apart
        return {"diversity": around(float(own.mean()), 2 * own, level), "vendi": self._vendi(x, level)}

    def _vendi(self, x: Tensor, level: float) -> Estimate:
        x = x - self.centre
        x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
        values, vectors = torch.linalg.eigh(x.T @ x / len(x))  # the nonzero eigenvalues of x x^T / N
        logs = values.clamp(min=1e-30).log() * (values > 1e-12)
        entropy = float(-(values * logs).sum())
        found = around(entropy, -((x @ vectors).square() @ logs), level)
        return Estimate(*(float(torch.tensor(end, dtype=torch.float64).exp()) for end in found))


def apart(x: Tensor) -> Tensor:
    """The mean distance of each row to the others, (N,); ValueError for fewer than two."""
    if len(x) < 2:
        raise ValueError(f"{len(x)} samples: at least 2 are compared with each other")
    return torch.cat([d.sum(1) for d in distances(x, x)]) / (len(x) - 1)
