"""Denoisers of known answers, for the laws of what uses them."""

from __future__ import annotations

import torch
from torch import Tensor

from unnoise.denoiser import Answer, Denoise, Gaussian, Mixture
from unnoise.schedule import Schedule


class Constant:
    """A denoiser that costs nothing and counts."""

    evaluations = 1

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.conds, self.calls = schedule, {}, 0

    def project(self, x: Tensor, cond: object = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: object, cond: object = None) -> Answer:
        self.calls += 1
        return Answer(x_t * 0.1)

    def __call__(self, x_t: Tensor, t: object, cond: object = None) -> Tensor:
        return self.answer(x_t, t).x0


class Scalar(Constant):
    """The exact denoiser of N(0, variance) in each value, a quick one that counts."""

    def __init__(self, schedule: Schedule, variance: float = 0.25) -> None:
        super().__init__(schedule)
        self.variance = variance

    def answer(self, x_t: Tensor, t: object, cond: object = None) -> Answer:
        self.calls += 1
        alpha, sigma = (float(part) for part in self.schedule(torch.tensor(t, dtype=torch.float64)))
        return Answer(x_t * (alpha * self.variance / (alpha**2 * self.variance + sigma**2)))


class Wrong:
    """Another denoiser, off by a number."""

    evaluations = 1

    def __init__(self, denoiser: Denoise, by: float) -> None:
        self.denoiser, self.by, self.schedule, self.conds = denoiser, by, denoiser.schedule, denoiser.conds

    def project(self, x: Tensor, cond: object = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: float | Tensor, cond: object = None) -> Answer:
        return Answer(self.denoiser(x_t, t) + self.by)

    def __call__(self, x_t: Tensor, t: float | Tensor, cond: object = None) -> Tensor:
        return self.answer(x_t, t).x0


def two_modes(schedule: Schedule) -> Mixture:
    means = torch.tensor([[1.0, -0.5], [-0.6, 0.4]], dtype=torch.float64)
    covariances = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.05], [-0.05, 0.1]]], dtype=torch.float64)
    return Mixture(schedule, torch.tensor([0.3, 0.7]), means, covariances)


def narrow(schedule: Schedule) -> Mixture:
    """Two modes so tight that what is wrong by d at every level adds up to a few d only."""
    spread = torch.eye(2, dtype=torch.float64).expand(2, 2, 2) * 0.02**2
    return Mixture(schedule, torch.tensor([0.3, 0.7]), torch.tensor([[1.0, -0.5], [-0.6, 0.4]], dtype=torch.float64), spread)


def mixture(schedule: Schedule) -> Mixture:
    means = torch.tensor([[1.5, 1.0], [-1.5, 0.5], [0.2, -1.5]])
    spread = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.2, 0.0], [0.0, 0.2]], [[0.25, -0.1], [-0.1, 0.3]]])
    return Mixture(schedule, torch.tensor([0.3, 0.3, 0.4]), means, spread)


def normal(schedule: Schedule) -> Gaussian:
    return Gaussian(schedule, torch.tensor([0.5, -0.5]), torch.tensor([[1.0, 0.6], [0.6, 0.7]]))


def silent(like: Tensor, t: float, s: float) -> Tensor:
    return torch.zeros_like(like)
