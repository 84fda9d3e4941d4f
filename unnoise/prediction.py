"""What the network's output means.

A prediction turns the output F of a network into the estimate of x:

    D(x_t) = c_skip x_t + c_out F(c_in x_t, level)

with coefficients that are functions of alpha and sigma alone, where x_t = alpha x + sigma eps. `c_in` gives the network an
input of unit variance when x has it; on variance-preserving schedules it is 1. The losses weigh each prediction by 1 / c_out^2
unless told otherwise: the plain squared error of what the network predicts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unnoise.schedule import Discrete

Coefficients = tuple[Tensor, Tensor, Tensor]
Prediction = Callable[[Tensor, Tensor], Coefficients]


def unit(alpha: Tensor, sigma: Tensor) -> Tensor:
    """The factor that brings x_t to unit variance, 1 / sqrt(alpha^2 + sigma^2)."""
    return (alpha**2 + sigma**2).rsqrt()


def eps(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """The noise: x0 = (x_t - sigma F) / alpha. Needs alpha > 0.

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, eq. 11-12 and 15. arXiv:2006.11239
    """
    return 1 / alpha, -sigma / alpha, unit(alpha, sigma)


def x0(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """The data themselves: x0 = F.

    Reference: Ho et al. 2020, section 3.2; Salimans & Ho, Progressive Distillation, 2022, section 4. arXiv:2202.00512
    """
    return torch.zeros_like(alpha), torch.ones_like(alpha), unit(alpha, sigma)


def v(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """The velocity on the circle, v = alpha eps - sigma x: x0 = (alpha x_t - sigma F) / (alpha^2 + sigma^2).

    Reference: Salimans & Ho, Progressive Distillation for Fast Sampling of Diffusion Models, 2022, appendix D. arXiv:2202.00512
    """
    power = alpha**2 + sigma**2
    return alpha / power, -sigma / power, power.rsqrt()


def score(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """The score, grad log p_t(x_t) = (alpha x0 - x_t) / sigma^2: x0 = (x_t + sigma^2 F) / alpha. Needs alpha > 0.

    Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, eq. 7 (with
    Tweedie's formula). arXiv:2011.13456
    """
    return 1 / alpha, sigma**2 / alpha, torch.ones_like(alpha)


def flow(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """The direction of a straight path, eps - x: x0 = (x_t - sigma F) / (alpha + sigma).

    Reference: Lipman et al., Flow Matching for Generative Modeling, 2023, eq. 23 (with time reversed). arXiv:2210.02747
    """
    total = alpha + sigma
    return 1 / total, -sigma / total, torch.ones_like(alpha)


def edm(alpha: Tensor, sigma: Tensor, sigma_data: float = 0.5) -> Coefficients:
    """Preconditioning that keeps input, target and error of the network at unit variance at every level.

    With r = sigma / alpha (the paper has alpha = 1):

        c_skip = sigma_data^2 / (r^2 + sigma_data^2) / alpha;  c_out = r sigma_data / sqrt(r^2 + sigma_data^2)
        c_in = 1 / sqrt(sigma^2 + alpha^2 sigma_data^2)

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 1. arXiv:2206.00364
    """
    power = sigma**2 + (alpha * sigma_data) ** 2
    return alpha * sigma_data**2 / power, sigma * sigma_data * power.rsqrt(), power.rsqrt()


def blind(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """The data, of a network that is not shown x_t: x0 = F(0, level, cond), the regression of x on its conditions."""
    return torch.zeros_like(alpha), torch.ones_like(alpha), torch.zeros_like(alpha)


class Mean:
    """The mean of the next state of a chain, E[q(x_{t-1} | x_t, x)] = c_x x + c_t x_t: x0 = (F - c_t x_t) / c_x.

    What is predicted depends on the neighbour in the chain, so this belongs to one table and to its entries alone.

    Args:
        schedule: The chain.

    Reference: Ho et al. 2020, eq. 7-9. arXiv:2006.11239
    """

    def __init__(self, schedule: Discrete) -> None:
        t = schedule.times
        c_x, c_t, _ = schedule.posterior(t - 1 / len(t), t)
        self.sigmas, self.c_x, self.c_t = schedule.sigmas, c_x, c_t

    def __call__(self, alpha: Tensor, sigma: Tensor) -> Coefficients:
        entry = (self.sigmas - sigma[..., None]).abs().argmin(-1)
        c_x = self.c_x[entry]
        return -self.c_t[entry] / c_x, 1 / c_x, unit(alpha, sigma)


__all__ = ["Mean", "blind", "edm", "eps", "flow", "score", "v", "x0"]
