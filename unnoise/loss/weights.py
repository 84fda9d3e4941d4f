"""How much the squared error of x0 counts at each level: functions of (alpha, sigma, c_out), each (B,).

Every prediction is turned into x0 first, so any weight goes with any prediction. Below, SNR = alpha^2 / sigma^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def plain(alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
    """1 / c_out^2: the plain squared error of whatever the network predicts. With eps it is DDPM's L_simple."""
    return c_out**-2


def snr(alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
    """SNR: the squared error of eps. Per unit of log-SNR it is the likelihood's own weight (see `Denoising`).

    Reference: Ho et al. 2020, eq. 14, arXiv:2006.11239; Kingma et al. 2021, eq. 17-18, arXiv:2107.00630
    """
    return (alpha / sigma) ** 2


def one(alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
    """1: the squared error of x0."""
    return torch.ones_like(alpha)


def snr_plus_one(alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
    """SNR + 1: the squared error of v. Reference: Salimans & Ho 2022, section 4. arXiv:2202.00512"""
    return (alpha / sigma) ** 2 + 1


def score(alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
    """alpha^2 / sigma^4: the squared error of the score, denoising score matching without a weight of its own.

    Reference: Vincent, A Connection Between Score Matching and Denoising Autoencoders, 2011, section 4.
    """
    return (alpha / sigma**2) ** 2


@dataclass(frozen=True)
class MinSNR:
    """min(SNR, gamma): no level counts more than gamma in the squared error of x0.

    Reference: Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, 2023, eq. 8. arXiv:2303.09556
    """

    gamma: float = 5.0

    def __call__(self, alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
        return (alpha / sigma).square().clamp(max=self.gamma)


@dataclass(frozen=True)
class SoftMinSNR:
    """SNR gamma / (SNR + gamma): the same without a corner.

    Reference: Crowson et al., Scalable High-Resolution Pixel-Space Image Synthesis with Hourglass Diffusion Transformers, 2024,
    section 4.4. arXiv:2401.11605
    """

    gamma: float = 4.0

    def __call__(self, alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
        return self.gamma / (1 + self.gamma * (sigma / alpha) ** 2)


@dataclass(frozen=True)
class P2:
    """SNR / (k + SNR)^gamma: less for the cleanest levels, whose details cannot be seen.

    Reference: Choi et al., Perception Prioritized Training of Diffusion Models, 2022, eq. 8. arXiv:2204.00227
    """

    gamma: float = 1.0
    k: float = 1.0

    def __call__(self, alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
        ratio = (alpha / sigma) ** 2
        return ratio / (self.k + ratio) ** self.gamma


@dataclass(frozen=True)
class EDM:
    """SNR + 1 / sigma_data^2: with EDM's preconditioning the network's own error counts the same at every level.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 1. arXiv:2206.00364
    """

    sigma_data: float = 0.5

    def __call__(self, alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
        return (alpha / sigma) ** 2 + self.sigma_data**-2


@dataclass(frozen=True)
class Sigmoid:
    """SNR sigmoid(bias - log SNR): meant per unit of log-SNR, where it falls monotonically, so that it is still a bound.

    Reference: Kingma & Gao, Understanding Diffusion Objectives as the ELBO with Simple Data Augmentation, 2023, section 4 and
    table 1. arXiv:2303.00848
    """

    bias: float = 2.0

    def __call__(self, alpha: Tensor, sigma: Tensor, c_out: Tensor) -> Tensor:
        ratio = (alpha / sigma) ** 2
        return ratio * (self.bias - ratio.log()).sigmoid()
