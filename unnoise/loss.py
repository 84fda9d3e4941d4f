"""What is trained: the error of the denoiser at random times.

An objective is called with the model, a batch and keyed randomness and returns one loss a sample, (B,). `Denoising` has two
choices of its own: the law of the training times t, and the weight of the squared error of x0 at each of them. A weight is a
function of (alpha, sigma, c_out); since every prediction is turned into x0 first, any weight goes with any prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unnoise.denoiser import Denoiser
from unnoise.schedule import Schedule
from unnoise.tensor import Rng, expand, masked_mean

Batch = Mapping[str, Tensor]
Weight = Callable[[Tensor, Tensor, Tensor], Tensor]

GOLDEN = 0.6180339887498949  # its multiples, mod 1, are spread more evenly than any other number's


class Objective(Protocol):
    """Losses of a batch, (B,)."""

    def __call__(self, model: Denoiser, batch: Batch, rng: Rng) -> Tensor: ...


class Law(Protocol):
    """Training times, (B,) in float64."""

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor: ...


@dataclass(frozen=True)
class Uniform:
    """t uniform over [t_min, 1], or over the entries of a table.

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, algorithm 1. arXiv:2006.11239
    """

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor:
        return schedule.uniform(rng.uniform((), "t", dtype=torch.float64))


@dataclass(frozen=True)
class Stratified:
    """The same law with its draws spread evenly over each batch, so that the loss of a step varies less.

        t = uniform((u + i golden) mod 1)

    with one u a batch and i the sample's position in it.

    Reference: Kingma et al., Variational Diffusion Models, 2021, appendix I.1 (there with i / B in place of i golden).
    arXiv:2107.00630
    """

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor:
        shared = Rng(rng.key[0][:1] | (rng.key[1][:1] << 32)).uniform((), "t", dtype=torch.float64)
        return schedule.uniform((shared + rng.index * GOLDEN) % 1)


@dataclass(frozen=True)
class LogNormal:
    """log(sigma / alpha) normal with this mean and standard deviation, cut to the schedule's times.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 1. arXiv:2206.00364
    """

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor:
        log_ratio = self.mean + self.std * rng.normal((), "t", dtype=torch.float64)
        return schedule.time(-2 * log_ratio).clamp(min=schedule.t_min)


@dataclass(frozen=True)
class LogitNormal:
    """The quantile of t is the sigmoid of a normal draw: more of the middle, less of the ends.

    Reference: Esser et al., Scaling Rectified Flow Transformers for High-Resolution Image Synthesis, 2024, eq. 19.
    arXiv:2403.03206
    """

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor:
        return schedule.uniform((self.mean + self.std * rng.normal((), "t", dtype=torch.float64)).sigmoid())


def plain(alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
    """1 / c_out^2: the plain squared error of whatever the network predicts. With eps it is DDPM's L_simple."""
    return c_out**-2


def snr(alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
    """alpha^2 / sigma^2: the squared error of eps. Reference: Ho et al. 2020, eq. 14. arXiv:2006.11239"""
    return (alpha / sigma) ** 2


def one(alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
    """1: the squared error of x0."""
    return torch.ones_like(alpha)


def snr_plus_one(alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
    """alpha^2 / sigma^2 + 1: the squared error of v. Reference: Salimans & Ho 2022, section 4. arXiv:2202.00512"""
    return (alpha / sigma) ** 2 + 1


@dataclass(frozen=True)
class MinSNR:
    """min(alpha^2 / sigma^2, gamma): no level counts more than gamma in the squared error of x0.

    Reference: Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, 2023, eq. 8. arXiv:2303.09556
    """

    gamma: float = 5.0

    def __call__(self, alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
        return (alpha / sigma).square().clamp(max=self.gamma)


@dataclass(frozen=True)
class Denoising:
    """The weighted squared error of the denoised picture, one random time a sample.

        loss = weight(t) mean |D(alpha_t x + sigma_t eps, t) - x|^2

    Args:
        weight: Of the error at (alpha, sigma, c_out); the default is that of the paper each prediction comes from.
        times: The law of t.

    Reference: Ho et al. 2020, eq. 14 and algorithm 1. arXiv:2006.11239
    """

    weight: Weight = plain
    times: Law = Uniform()

    def __call__(self, model: Denoiser, batch: Batch, rng: Rng) -> Tensor:
        return self.at(model, batch, self.times(model.schedule, rng), rng)

    def at(self, model: Denoiser, batch: Batch, t: Tensor, rng: Rng) -> Tensor:
        """The losses at given times, (B,): `batch` holds x, its conditions, and maybe a mask of the places that count."""
        x, mask = batch["x"], batch.get("mask")
        cond = {name: batch[name] for name in model.conds if name in batch}
        eps = model.project(rng.to(x.device).normal(x.shape[1:], "eps", dtype=x.dtype), cond)
        alpha, sigma = model.schedule(t)
        weight = self.weight(alpha, sigma, model.predict(alpha, sigma)[1])
        alpha, sigma, weight = (c.to(x.device, x.dtype, non_blocking=True) for c in (alpha, sigma, weight))
        x_t = expand(alpha, x) * x + expand(sigma, x) * eps
        return weight * masked_mean((model(x_t, t, cond) - x) ** 2, mask)


__all__ = [
    "Denoising",
    "LogNormal",
    "LogitNormal",
    "MinSNR",
    "Stratified",
    "Uniform",
    "one",
    "plain",
    "snr",
    "snr_plus_one",
]
