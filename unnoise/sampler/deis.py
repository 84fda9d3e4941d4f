"""Polynomials through the last values of eps, integrated exactly: DEIS, and in one of its variables LMS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch

from unnoise.sampler.base import Path, path
from unnoise.sampler.multistep import Multistep, Terms
from unnoise.schedule import Schedule

NODES = 32  # of the quadrature: exact to rounding for steps of lam up to about 10


@dataclass(frozen=True)
class DEIS(Multistep):
    """Diffusion exponential integrator sampler: Adams and Bashforth's method for the exactly solved linear part.

        x_s / alpha_s = x_t / alpha_t + integral of P(v) d(sigma / alpha) from t to s

    with P the polynomial in v through the last `order` values of eps. One evaluation a step.

    Args:
        order: 1 (DDIM) to 4.
        along: v, the variable of the polynomial: "log_ratio" log(sigma / alpha), "ratio" sigma / alpha, or "t".
        lower: The order falls with the last evaluations (see `DPMpp2M`).

    Reference: Zhang & Chen, Fast Sampling of Diffusion Models with Exponential Integrator, 2023, eq. 14-15. arXiv:2204.13902
    """

    order: int = 3
    along: Literal["log_ratio", "ratio", "t"] = "log_ratio"
    lower: bool = False

    unknown = "eps"

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 4:
            raise ValueError(f"{type(self).__name__}: order must be 1 to 4, given {self.order}")

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Terms]:
        at = path(schedule, times)
        places = at.t if self.along == "t" else [-lam if self.along == "log_ratio" else math.exp(-lam) for lam in at.lam]
        ratios = self._ratios(schedule, places)
        plans = []
        for k, order in enumerate(self.orders(places, times)):
            v = np.array(places[k + 1 : k - order if k >= order else None : -1])
            plans.append(self._terms(at, k, order) if order == 1 else self._solve(at, k, v, ratios[k]))
        return plans

    def weights(self, at: Path, k: int, order: int) -> tuple[float, list[float], float]:
        change = at.sigma[k + 1] - at.sigma[k] * at.alpha[k + 1] / at.alpha[k]
        return at.alpha[k + 1] / at.alpha[k], [change], 0.0

    def _ratios(self, schedule: Schedule, places: list[float]) -> np.ndarray:
        """sigma / alpha on the nodes of each step, (steps, NODES)."""
        ends = np.array(places)
        with np.errstate(invalid="ignore"):  # infinite ends: steps of order 1, which need no nodes
            v = ends[:-1, None] + _nodes()[0] * np.diff(ends)[:, None]
        if self.along == "t":
            alpha, sigma = schedule(torch.from_numpy(v))
            return (sigma / alpha).numpy()
        return np.exp(v) if self.along == "log_ratio" else v

    def _solve(self, at: Path, k: int, v: np.ndarray, ratio: np.ndarray) -> Terms:
        """Weights that integrate the powers of u = (v - v_t) / (v_s - v_t) exactly; v is v_s, v_t, then the past."""
        u = (v[1:] - v[1]) / (v[0] - v[1])
        nodes, shares = _nodes()
        start, end = at.sigma[k] / at.alpha[k], at.sigma[k + 1] / at.alpha[k + 1]
        integrals = [end - start, *(end - p * (shares * nodes ** (p - 1) * ratio).sum() for p in range(1, len(u)))]
        weights = np.linalg.solve(np.vander(u, increasing=True).T, integrals) * at.alpha[k + 1]
        to_eps = (1 / at.sigma[k], -at.alpha[k] / at.sigma[k])
        a = at.alpha[k + 1] / at.alpha[k] + weights[0] * to_eps[0]
        return Terms(float(a), float(weights[0] * to_eps[1]), tuple(weights[1:].tolist()), 0.0, to_eps)


@dataclass(frozen=True)
class LMS(DEIS):
    """Linear multistep in sigma / alpha: DEIS with that variable, order 4.

    Reference: Katherine Crowson, k-diffusion (sample_lms); Zhang & Chen 2023, "rho AB". arXiv:2204.13902
    """

    order: int = 4
    along: Literal["log_ratio", "ratio", "t"] = "ratio"


@cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Gauss and Legendre's nodes in [0, 1] and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2
