"""Textbook solvers of the reverse equations in t.

With the rates alpha' and sigma' and eps = (x_t - alpha_t x0) / sigma_t:

    probability flow   dx = (alpha' x0 + sigma' eps) dt
    reverse SDE        dx = (alpha' x0 + sigma' eps + eta g^2 eps / (2 sigma_t)) dt + sqrt(eta) g dW
    g^2 = 2 sigma_t (sigma' - sigma_t alpha' / alpha_t)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unnoise.sampler.base import path
from unnoise.sampler.ddim import DDIM, Linear, Sum
from unnoise.schedule import Schedule


def slopes(schedule: Schedule, times: Sequence[float]) -> list[tuple[float, float]]:
    """dx/dt of the probability flow at each time as p x_t + q x0."""
    _, alpha, sigma, _ = path(schedule, times)
    rates = zip(*(rate.tolist() for rate in schedule.rates(torch.tensor(list(times), dtype=torch.float64))), strict=True)
    return [
        (d_sigma / s, d_alpha - d_sigma * a / s) if s else (0.0, 0.0)
        for a, s, (d_alpha, d_sigma) in zip(alpha, sigma, rates, strict=True)
    ]


@dataclass(frozen=True)
class EulerMaruyama(Linear):
    """The method of Euler and Maruyama in t on the reverse SDE; at eta = 0 Euler's on the probability flow.

        x_s = x_t + (s - t) (alpha'_t x0 + sigma'_t eps + eta g^2 eps / (2 sigma_t)) + sqrt(eta (t - s)) g noise

    Order 1, one evaluation a step. A step from alpha_t = 0, where g is infinite, is `DDIM`'s with the same eta.

    Args:
        eta: Variance of the noise, as a share of the reverse SDE's own.

    Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, eq. 6 and appendix D,
    arXiv:2011.13456; the share: Zhang & Chen, DEIS, 2022, eq. 6 (there lambda^2), arXiv:2204.13902
    """

    eta: float = 1.0

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Sum]:
        t, alpha, sigma, _ = path(schedule, times)
        rates = [rate.tolist() for rate in schedule.rates(torch.tensor(t, dtype=torch.float64))]
        steps: list[Sum] = []
        for k, (p, q) in enumerate(slopes(schedule, times)[:-1]):
            if alpha[k] == 0 and self.eta:
                steps += DDIM(min(self.eta, 1.0)).plan(schedule, t[k : k + 2])
                continue
            dt, power = t[k + 1] - t[k], 0.0
            if self.eta:
                power = self.eta * 2 * sigma[k] * (rates[1][k] - sigma[k] * rates[0][k] / alpha[k])
            more = power / (2 * sigma[k] ** 2)
            steps.append((1 + dt * (p + more), dt * (q - more * alpha[k]), (-dt * power) ** 0.5))
        return steps


@dataclass(frozen=True)
class ReverseDiffusion(Linear):
    """The reverse chain discretised as the forward one: score_sde's predictor.

        x_s = (2 - scale) x_t + (1 + eta) / 2 std^2 score + sqrt(eta) std noise;   score = -eps / sigma_t

    with `scale` and std of the transition q(x_t | x_s). Order 1, one evaluation a step. At alpha_t = 0 the scale is 0.

    Args:
        eta: 1 for the reverse SDE, 0 for the probability flow.

    Reference: Song et al. 2021, algorithms 2-3 and eq. 46. arXiv:2011.13456
    """

    eta: float = 1.0

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Sum]:
        t, alpha, sigma, _ = path(schedule, times)
        at = torch.tensor(t, dtype=torch.float64)
        scales, stds = (part.tolist() for part in schedule.transition(at[1:], at[:-1]))
        steps: list[Sum] = []
        for k, (scale, std) in enumerate(zip(scales, stds, strict=True)):
            pull = (1 + self.eta) / 2 * (std / sigma[k]) ** 2
            steps.append((2 - scale - pull, pull * alpha[k], self.eta**0.5 * std))
        return steps
