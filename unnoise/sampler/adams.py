"""Adams and Bashforth's method with the classical weights of equal steps: PNDM and PLMS."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from unnoise.sampler.base import Sampler, Walk, path
from unnoise.schedule import Schedule

ADAMS = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
WARM = {"euler": 0, "heun": 1, "runge_kutta": 3}  # steps of the warm-up


class Transfer(NamedTuple):
    """Of one step: x to the whole and to half of it with constant eps, x_s = a x + b eps; eps on x_t, in the middle, on x_s."""

    whole: tuple[float, float]
    half: tuple[float, float]
    middle: float
    to_eps: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class PNDM(Sampler):
    """Pseudo numerical methods for diffusion models: DDIM's step with a sum of the last four eps, as if steps were equal.

        x_s = (alpha_s / alpha_t) (x_t - sigma_t e) + sigma_s e;   e = (55 eps - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24

    NFE is n, n + 1 or n + 9 for the three warm-ups (as far as there are steps for them). Order 4 on equal steps of a smooth
    variable with "runge_kutta", else limited by its first steps; on unequal steps `DEIS` is right where this is not.

    Args:
        warmup: What the first steps do: "euler": orders 1, 2, 3 (PLMS); "heun": the first step is repeated with the mean eps of
            its
            ends; "runge_kutta": three steps of the fourth-order method, four evaluations each (PNDM).

    Raises:
        ValueError: In a walk, if the schedule has no signal at its first time: eps is divided by alpha_t.

    Reference: Liu et al., Pseudo Numerical Methods for Diffusion Models on Manifolds, 2022, eq. 9-13 and algorithm 2.
    arXiv:2202.09778
    """

    warmup: Literal["euler", "heun", "runge_kutta"] = "euler"

    order = 2

    def __post_init__(self) -> None:
        if self.warmup not in WARM:
            raise ValueError(f"PNDM: warmup must be euler, heun or runge_kutta, given {self.warmup!r}")

    def evaluations(self, n: int) -> int:
        return n + {"euler": 0, "heun": 1, "runge_kutta": 3}[self.warmup] * min(n - 1, WARM[self.warmup])

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Transfer]:
        _, alpha, sigma, _ = path(schedule, times)
        if alpha[0] == 0:
            raise ValueError(f"PNDM divides by alpha, which is 0 at the start of {schedule!r}; use DEIS or DPMpp2M")
        halves = [(t + s) / 2 for t, s in itertools.pairwise(times)]
        _, alpha_u, sigma_u, _ = path(schedule, halves) if halves else ([], [], [], [])
        steps = []
        for k, u in enumerate(halves):
            there, back = (alpha[k], sigma[k]), (alpha[k + 1], sigma[k + 1])
            between = (alpha_u[k], sigma_u[k])
            on = tuple((1 / s, -a / s) if s else (0.0, 0.0) for a, s in (there, between, back))
            steps.append(Transfer(_transfer(there, back), _transfer(there, between), u, on))
        return steps

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        whole, half, middle, to_eps = walk.plan[k]
        t, s = walk.times[k], walk.times[k + 1]
        eps = _eps(walk, x_t, t, to_eps[0])
        walk.past = [eps, *walk.past[:3]]
        if k >= WARM[self.warmup]:
            weights = ADAMS[len(walk.past) - 1]
            x_s = (x_t * whole[0]).add_(eps, alpha=whole[1] * weights[0])
            for weight, value in zip(weights[1:], walk.past[1:], strict=True):
                x_s.add_(value, alpha=whole[1] * weight)
            return x_s
        if self.warmup == "heun":
            walk.past = []
            end = _eps(walk, _move(x_t, eps, whole), s, to_eps[2])
            walk.past = [eps]
            return _move(x_t, (eps + end).div_(2), whole)
        second = _eps(walk, _move(x_t, eps, half), middle, to_eps[1])
        third = _eps(walk, _move(x_t, second, half), middle, to_eps[1])
        fourth = _eps(walk, _move(x_t, third, whole), s, to_eps[2])
        return _move(x_t, (eps + fourth).div_(6).add_(second, alpha=1 / 3).add_(third, alpha=1 / 3), whole)


def _transfer(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """DDIM's step with constant eps: weights of x and eps."""
    a = end[0] / start[0]
    return a, end[1] - a * start[1]


def _move(x: Tensor, eps: Tensor, weights: tuple[float, float]) -> Tensor:
    return (x * weights[0]).add_(eps, alpha=weights[1])


def _eps(walk: Walk, x: Tensor, t: float, weights: tuple[float, float]) -> Tensor:
    x0 = walk.denoise(x, t)
    return (x * weights[0]).add_(x0, alpha=weights[1])
