"""Samplers as their papers print them, one loop each: what an order of convergence cannot tell apart, these do."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from unnoise.sampler import DDIM, DPMpp2M, DPMSolver, Heun, Sampler
from unnoise.task.selfcheck.cells import Cell, Cells
from unnoise.task.selfcheck.members import FEW, label
from unnoise.task.selfcheck.targets import Target, mixture
from unnoise.tensor import Rng
from unnoise.times import Given

Loop = Callable[[Target, Tensor, list[float], list[float], list[float]], Tensor]
TIMES = (0.98, 0.9, 0.71, 0.6, 0.57, 0.35, 0.3, 0.12, 0.05, 0.03)  # ragged: an even grid hides what unequal steps need
EXACT = 1e-9


def ddim(denoise: Target, x: Tensor, t: list[float], alpha: list[float], sigma: list[float]) -> Tensor:
    """Song et al. 2021, eq. 12 with eta = 0. arXiv:2010.02502"""
    for k in range(len(t) - 1):
        x0 = denoise(x, t[k])
        x = alpha[k + 1] * x0 + sigma[k + 1] * (x - alpha[k] * x0) / sigma[k]
    return denoise(x, t[-1])


def two_m(denoise: Target, x: Tensor, t: list[float], alpha: list[float], sigma: list[float]) -> Tensor:
    """Lu et al. 2022, algorithm 2. arXiv:2211.01095"""
    lam, past = [math.log(a / s) for a, s in zip(alpha, sigma, strict=True)], None
    for k in range(len(t) - 1):
        x0, h = denoise(x, t[k]), lam[k + 1] - lam[k]
        r = (lam[k] - lam[k - 1]) / h if k else math.inf
        d = x0 if past is None else (1 + 1 / (2 * r)) * x0 - past / (2 * r)
        x, past = sigma[k + 1] / sigma[k] * x - alpha[k + 1] * math.expm1(-h) * d, x0
    return denoise(x, t[-1])


def two_m_eps(denoise: Target, x: Tensor, t: list[float], alpha: list[float], sigma: list[float]) -> Tensor:
    """The same for the noise: Lu et al. 2022, eq. 3.7 and appendix B. arXiv:2206.00927"""
    lam, past = [math.log(a / s) for a, s in zip(alpha, sigma, strict=True)], None
    for k in range(len(t) - 1):
        eps, h = (x - alpha[k] * denoise(x, t[k])) / sigma[k], lam[k + 1] - lam[k]
        r = (lam[k] - lam[k - 1]) / h if k else math.inf
        d = eps if past is None else eps + (eps - past) / (2 * r)
        x, past = alpha[k + 1] / alpha[k] * x - sigma[k + 1] * math.expm1(h) * d, eps
    return denoise(x, t[-1])


def heun(denoise: Target, x: Tensor, t: list[float], alpha: list[float], sigma: list[float]) -> Tensor:
    """Karras et al. 2022, algorithm 1, for x / alpha and sigma / alpha. arXiv:2206.00364"""
    for k in range(len(t) - 1):
        r, s, y = sigma[k] / alpha[k], sigma[k + 1] / alpha[k + 1], x / alpha[k]
        d = (y - denoise(x, t[k])) / r
        trial = y + (s - r) * d
        d_s = (trial - denoise(alpha[k + 1] * trial, t[k + 1])) / s
        x = alpha[k + 1] * (y + (s - r) * (d + d_s) / 2)
    return denoise(x, t[-1])


FORMULAS: list[tuple[Sampler, Loop]] = [(DDIM(), ddim), (DPMpp2M(), two_m), (DPMSolver(), two_m_eps), (Heun(), heun)]


def formula_laws(quick: bool) -> Cells:
    """Walks on ragged times against the papers' own formulas."""
    for schedule in FEW:
        alpha, sigma = (part.tolist() for part in schedule(torch.tensor(TIMES, dtype=torch.float64)))
        start = Rng([0]).normal((16, 2), "start", dtype=torch.float64)[0]
        for sampler, loop in FORMULAS:
            found = sampler(mixture(schedule), start, Given(TIMES))
            away = (found - loop(mixture(schedule), start, list(TIMES), alpha, sigma)).abs().max()
            where = f"{label(schedule)}, ragged times"
            yield Cell("distance from the paper's formula", label(sampler), where, float(away), EXACT)
