"""Schedules given by formulas in continuous time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.schedule.base import Schedule


@dataclass(frozen=True)
class VP(Schedule):
    """Variance preserving: the limit of DDPM's chain, with beta growing linearly in time.

        alpha_t = exp(-t^2 (beta_max - beta_min) / 4 - t beta_min / 2);  sigma_t = sqrt(1 - alpha_t^2)

    Args:
        beta_min, beta_max: Rate of noising at t = 0 and t = 1.
        t_min: sigma_0 is 0, so walks end a little earlier.

    Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, eq. 32-33.
    arXiv:2011.13456
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3

    def log_alpha(self, t: Tensor) -> Tensor:
        return -(t**2) * (self.beta_max - self.beta_min) / 4 - t * self.beta_min / 2

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha = self.log_alpha(t)
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-variance preserving: VP's signal with less noise, sigma_t = 1 - alpha_t^2 (a square root less than VP's).

    Reference: Song et al. 2021, eq. 29 and 33. arXiv:2011.13456
    """

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha = self.log_alpha(t)
        return log_alpha.exp(), -torch.expm1(2 * log_alpha)


@dataclass(frozen=True)
class VE(Schedule):
    """Variance exploding: alpha_t = 1, sigma_t = sigma_min (sigma_max / sigma_min)^t.

    Reference: Song et al. 2021, eq. 30-31. arXiv:2011.13456
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.sigma_min * (self.sigma_max / self.sigma_min) ** t


@dataclass(frozen=True)
class EDM(Schedule):
    """The grid of "Elucidating diffusion models" as a schedule: alpha_t = 1 and sigma_t^(1/rho) linear in t.

        sigma_t = (sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, eq. 5. arXiv:2206.00364
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return torch.ones_like(t), (low + t * (high - low)) ** self.rho


@dataclass(frozen=True)
class Cosine(Schedule):
    """The cosine schedule in continuous time: an angle that grows linearly, cut where the log-SNR leaves its bounds.

        alpha_t = cos(angle_t);  sigma_t = sin(angle_t);  angle_t = arctan(exp(-log_snr / 2)) linear between its ends

    Args:
        log_snr_max, log_snr_min: At t = 0 and t = 1.

    Reference: Ho & Salimans, Classifier-Free Diffusion Guidance, 2022, section 3 (after Nichol & Dhariwal 2021).
    arXiv:2207.12598
    """

    log_snr_max: float = 15.0
    log_snr_min: float = -15.0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        first, last = (math.atan(math.exp(-end / 2)) for end in (self.log_snr_max, self.log_snr_min))
        angle = t * (last - first)
        return (math.pi / 2 - first - angle).sin(), (first + angle).sin()  # the cosine as a sine is 0 where it must be


@dataclass(frozen=True)
class Laplace(Schedule):
    """Variance preserving, with a log-SNR that under uniform t has Laplace's law, cut to its bounds: most of t is in the middle.

        log_snr_t = mean - scale sign(1/2 - u) log(1 - 2 |u - 1/2|);  u linear in t between the quantiles of the bounds

    Args:
        mean, scale: Of the law; its standard deviation is sqrt(2) scale.
        log_snr_max, log_snr_min: At t = 0 and t = 1, on either side of the mean; time has few numbers left further out.

    Reference: Hang et al., Improved Noise Schedule for Diffusion Training, 2024, table 1. arXiv:2407.03297
    """

    mean: float = 0.0
    scale: float = 0.5
    log_snr_max: float = 10.0
    log_snr_min: float = -10.0

    def log_snr(self, t: Tensor) -> Tensor:
        low, high = (math.exp(-abs(end - self.mean) / self.scale) / 2 for end in (self.log_snr_max, self.log_snr_min))
        inside = 1 - low - high
        cleaner, noisier = low + t * inside, high + (1 - t) * inside  # u and 1 - u
        return self.mean + self.scale * torch.where(cleaner < 0.5, -(2 * cleaner).log(), (2 * noisier).log())

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_snr = self.log_snr(t)
        return log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()


@dataclass(frozen=True)
class Shifted(Schedule):
    """Another schedule with its log-SNR moved, as larger pictures need: their pixels average to less noise.

        log_snr_t <- log_snr_t + shift;  alpha_t^2 + sigma_t^2 stays

    Args:
        schedule: The schedule for the size where it worked.
        shift: Added to its log-SNR: 2 log(worked / size) for pictures of another size.

    Reference: Hoogeboom et al., Simple Diffusion: End-to-End Diffusion for High Resolution Images, 2023, eq. 4. arXiv:2301.11093
    """

    schedule: Schedule
    shift: float = 0.0

    @property
    def t_min(self) -> float:  # type: ignore[override]
        return self.schedule.t_min

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.schedule(t)
        signal = alpha * math.exp(self.shift / 2)
        power = ((alpha**2 + sigma**2) / (signal**2 + sigma**2)).sqrt()
        return signal * power, sigma * power

    def uniform(self, u: Tensor) -> Tensor:
        return self.schedule.uniform(u)


@dataclass(frozen=True)
class Flow(Schedule):
    """Straight paths between data and noise (flow matching, rectified flow): alpha_t = 1 - t', sigma_t = t'.

        t' = shift t / (1 + (shift - 1) t)

    Args:
        shift: Above 1 it spends more of [0, 1] on noisy pictures, as large resolutions need.
        t_min: sigma_0 is 0, so walks end a little earlier.

    Reference: Lipman et al., Flow Matching for Generative Modeling, 2023, eq. 20-22 (with time reversed), arXiv:2210.02747; Esser
    et al., Scaling Rectified Flow Transformers, 2024, eq. 23, arXiv:2403.03206
    """

    shift: float = 1.0
    t_min: float = 1e-3

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        sigma = self.shift * t / (1 + (self.shift - 1) * t)
        return (1 - t) / (1 + (self.shift - 1) * t), sigma
