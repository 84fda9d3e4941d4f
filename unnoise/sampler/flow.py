"""Adams and Bashforth's method along straight paths: the velocity of flow matching, whatever the schedule."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from unnoise.sampler.base import Path, path
from unnoise.sampler.multistep import Multistep, Terms
from unnoise.schedule import Schedule

LONG = 0.2  # of a walk's longest step in u: below it third order pays,
SHORT = 0.055  # and below this fourth order, as measured by `benchmarks/quality.py`


@dataclass(frozen=True)
class FlowAdams(Multistep):
    """Polynomials in u through the last velocities, integrated exactly, in the coordinates where paths are straightest.

        y = x_t / (alpha_t + sigma_t);   u = sigma_t / (alpha_t + sigma_t);   dy / du = v = eps - x0

    u runs from 1 to 0 and v stays of unit size at both ends, so that no step is stiff: steady with few, large and uneven
    steps, from any noise and without signal (alpha_t = 0) too. One evaluation a step.

    Args:
        order: 1 (DDIM) to 4: the most that a step has. A polynomial drawn out over a long step leads astray, so that walks with
            a step across more than `LONG` of u are of order 2 at most, and those with one across more than `SHORT` of order 3.
        lower: The order falls with the last evaluations (see `DPMpp2M`).

    Reference: Zhang & Chen, Fast Sampling of Diffusion Models with Exponential Integrator, 2023, eq. 14-15 (eps for v),
    arXiv:2204.13902; Liu et al., Flow Straight and Fast, 2023, eq. 1, arXiv:2209.03003
    """

    order: int = 4
    lower: bool = False

    unknown: ClassVar[Literal["x0", "eps"]] = "eps"  # anything but x0: the step forms it as to_eps says

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 4:
            raise ValueError(f"FlowAdams: order must be 1 to 4, given {self.order}")

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Terms]:
        at = path(schedule, times)
        u = shares(at)
        most = _most(u)
        orders = [min(order, most) for order in self.orders(u, times)]
        rows = [adams(u[k::-1][:order], u[k + 1]) for k, order in enumerate(orders)]
        return [terms(at, k, row, at.alpha[k + 1] + at.sigma[k + 1]) for k, row in enumerate(rows)]

    def weights(self, at: Path, k: int, order: int) -> tuple[float, list[float], float]:
        raise NotImplementedError("FlowAdams plans its terms at once")


def _most(u: Sequence[float]) -> int:
    """The highest order for a walk, by the longest of its steps."""
    longest = max((abs(a - b) for a, b in itertools.pairwise(u)), default=0.0)
    return 2 if longest > LONG else 3 if longest > SHORT else 4


def shares(at: Path) -> list[float]:
    """u = sigma / (alpha + sigma) on each time."""
    return [sigma / (alpha + sigma) for alpha, sigma in zip(at.alpha, at.sigma, strict=True)]


def adams(places: Sequence[float], end: float) -> list[float]:
    """Weights that integrate the polynomial through values at `places` (newest first) from the newest to `end`."""
    step = end - places[0]
    nodes = (np.array(places) - places[0]) / step
    integrals = 1 / np.arange(1, len(nodes) + 1)
    return (np.linalg.solve(np.vander(nodes, increasing=True).T, integrals) * step).tolist()


def terms(at: Path, k: int, weights: Sequence[float], scale: float) -> Terms:
    """The step y + sum_j weights_j v_j, times `scale`, as numbers for x_t, x0 and the older velocities."""
    alpha, sigma = at.alpha[k], at.sigma[k]
    to_v = (1 / sigma, -(alpha + sigma) / sigma)
    newest, *older = weights
    a = scale * (1 / (alpha + sigma) + newest * to_v[0])
    return Terms(a, scale * newest * to_v[1], tuple(scale * w for w in older), 0.0, to_v)
