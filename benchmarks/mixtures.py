"""Data whose denoisers are known in closed form, brought to mean 0 and variance 1: what walks are measured on."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from unnoise.denoiser.exact import Exact, Mixture
from unnoise.schedule import EDM, Cosine, CosineBetas, LinearBetas, ScaledLinearBetas, Schedule
from unnoise.tensor import Cond, Rng


class Narrow(Exact):
    """Equally likely spheres of one width: a mixture that needs no eigenvectors. `means` (K, D)."""

    def __init__(self, schedule: Schedule, means: Tensor, std: float) -> None:
        super().__init__(schedule)
        self.means, self.std = means, std

    def posterior_mean(self, x_t: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Tensor:
        noisy = (alpha * self.std) ** 2 + sigma**2
        distance = alpha**2 * (self.means**2).sum(1) - 2 * alpha * (x_t @ self.means.T)
        means = (-distance / (2 * noisy)).softmax(1) @ self.means
        return means + alpha * self.std**2 / noisy * (x_t - alpha * means)


def uneven32(schedule: Schedule) -> Mixture:
    """16 Gaussians in 32 dimensions, each with deviations from 0.1 to 1 along axes of its own."""
    rng = Rng(range(16)).at(1)
    axes = torch.linalg.qr(_normal(rng, (32, 32), "axes"))[0]
    spread = (math.log(0.1) + math.log(10.0) * rng.uniform((32,), "scales", dtype=torch.float64)).exp()
    weights = 0.5 + rng.uniform((), "weights", dtype=torch.float64)
    return _standard(schedule, weights, _normal(rng, (32,), "means"), torch.einsum("kde,ke,kfe->kdf", axes, spread**2, axes))


def narrow64(schedule: Schedule) -> Narrow:
    """100 Gaussians of deviation 0.03 in 64 dimensions."""
    means = _normal(Rng(range(100)).at(2), (64,), "means")
    means = means - means.mean(0)
    return Narrow(schedule, means / (means**2).mean().sqrt(), 0.03)


def ring2(schedule: Schedule) -> Mixture:
    """8 Gaussians on a circle."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    spread = 0.15**2 * torch.eye(2, dtype=torch.float64)
    return _standard(schedule, torch.ones(8).double(), torch.stack([angle.cos(), angle.sin()], 1), spread.expand(8, 2, 2))


def sheets64(schedule: Schedule) -> Mixture:
    """6 Gaussians in 64 dimensions: 6 wide directions each, and little correlated noise about them."""
    rng = Rng(range(6)).at(5)
    wide = _normal(rng, (64, 6), "factors") / 6**0.5
    places = torch.arange(64, dtype=torch.float64)
    little = 0.015 * 0.9 ** (places[:, None] - places).abs() + 1e-4 * torch.eye(64)
    return _standard(schedule, torch.ones(6).double(), 0.4 * _normal(rng, (64,), "means"), wide @ wide.mT + little)


TARGETS: dict[str, tuple[tuple[int, ...], Callable[[], Exact]]] = {
    "uneven32 linear": ((32,), lambda: uneven32(LinearBetas())),
    "uneven32 edm": ((32,), lambda: uneven32(EDM())),
    "narrow64 cosine": ((64,), lambda: narrow64(CosineBetas())),
    "ring2 scaled-linear": ((2,), lambda: ring2(ScaledLinearBetas())),
    "sheets64 continuous-cosine": ((64,), lambda: sheets64(Cosine())),
}


def _normal(rng: Rng, shape: tuple[int, ...], purpose: str) -> Tensor:
    return rng.normal(shape, purpose, dtype=torch.float64)


def _standard(schedule: Schedule, weights: Tensor, means: Tensor, covariances: Tensor) -> Mixture:
    """The mixture shifted to mean 0, and scaled to a variance of 1 on average over its dimensions."""
    shares = (weights / weights.sum())[:, None]
    means = means - (shares * means).sum(0)
    variance = (shares * (means**2 + covariances.diagonal(dim1=1, dim2=2))).sum(0).mean()
    return Mixture(schedule, weights, means / variance.sqrt(), covariances / variance)
