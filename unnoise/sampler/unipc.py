"""UniPC: a predictor and a corrector of one form, the corrector for free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from unnoise.sampler.base import Path, Sampler, Walk, path
from unnoise.sampler.multistep import falling
from unnoise.schedule import Schedule


class Rule(NamedTuple):
    """x_s = a x + b x0 + the weighed unknowns; the first weight is the newest value's."""

    a: float
    b: float
    weights: tuple[float, ...]


class Step(NamedTuple):
    correct: Rule | None
    predict: Rule
    to_eps: tuple[float, float]


@dataclass(frozen=True)
class UniPC(Sampler):
    """Unified predictor-corrector: each evaluation first corrects the state it was made at, then predicts the next.

    With m the unknown and m_i its values at the shares r_i of a step (r < 0: the past; r = 1: the value at its end, corrector
    only):

        x_s = (first-order step) + scale B sum_i w_i (m_i - m) / r_i;   sum_i w_i r_i^(p - 1) = p! phi_(p+1) / B,   p = 1, 2, ...

    One evaluation a step. The corrector adds one to the order.

    Args:
        order: Of the predictor, 1 to 3.
        unknown: "x0" or "eps".
        variant: "bh2": B = exp(-h) - 1 for x0, exp(h) - 1 for eps; "bh1": B = -h or h.
        lower: The order falls with the last evaluations (see `DPMpp2M`).
        uncorrected: Indices of the steps whose end is not corrected (strong guidance makes the first ones unsteady).

    Reference: Zhao et al., UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models, 2023, algorithms
    1-2 and appendix E. arXiv:2302.04867
    """

    order: int = 2
    unknown: Literal["x0", "eps"] = "x0"
    variant: Literal["bh1", "bh2"] = "bh2"
    lower: bool = True
    uncorrected: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 3:
            raise ValueError(f"UniPC: order must be 1, 2 or 3, given {self.order}")

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Step]:
        at = path(schedule, times)
        orders = self._orders(at, times)
        steps: list[Step] = []
        for k, order in enumerate(orders):
            correct = None
            if k and k - 1 not in self.uncorrected and math.isfinite(at.lam[k - 1]):
                correct = self._rule(at, k - 1, orders[k - 1], corrector=True)
            steps.append(Step(correct, self._rule(at, k, order), (1 / at.sigma[k], -at.alpha[k] / at.sigma[k])))
        return steps

    def _orders(self, at: Path, times: Sequence[float]) -> list[int]:
        begin = int(math.isinf(at.lam[0]))  # a value at infinite lam says nothing of slopes
        orders = [max(1, min(self.order, k + 1 - begin)) for k in range(len(times) - 1)]
        orders = falling(orders, times) if self.lower else orders
        return [1 if math.isinf(at.lam[k + 1]) else order for k, order in enumerate(orders)]

    def _rule(self, at: Path, k: int, order: int, corrector: bool = False) -> Rule:
        """The step from times[k]: order - 1 past values, and for the corrector the one at its end."""
        alpha, sigma, h = at.alpha[k + 1], at.sigma[k + 1], at.lam[k + 1] - at.lam[k]
        if math.isinf(h):
            kept = sigma / at.sigma[k]
            return Rule(kept, alpha - kept * at.alpha[k], ())
        data = self.unknown == "x0"
        signed = -h if data else h
        scale = alpha if data else sigma
        first = math.expm1(signed)
        b = signed if self.variant == "bh1" else first
        places = [(at.lam[k - i] - at.lam[k]) / h for i in range(1, order)]
        weights = self._slopes(signed, first, b, [*places, 1.0] if corrector else places)
        newest = -scale * (first - sum(b * w / r for w, r in zip(weights, [*places, 1.0], strict=False)))
        past = [-scale * b * w / r for w, r in zip(weights, places, strict=False)]
        kept = sigma / at.sigma[k] if data else alpha / at.alpha[k]
        end = [-scale * b * weights[-1]] if corrector else []
        return Rule(kept, 0.0, (*end, newest, *past))

    def _slopes(self, signed: float, first: float, b: float, places: list[float]) -> list[float]:
        """w of each place. A single slope counts 1/2, as published, which is right to the order that one slope has."""
        if len(places) <= 1:
            return [0.5] * len(places)
        phi, factorial, wanted = first / signed - 1, 1, []
        for p in range(1, len(places) + 1):
            wanted.append(phi * factorial / b)
            factorial *= p + 1
            phi = phi / signed - 1 / factorial
        return np.linalg.solve(np.vander(places, increasing=True).T, wanted).tolist()

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        correct, predict, to_eps = walk.plan[k]
        x0 = walk.denoise(x_t, walk.times[k])
        newest = x0 if self.unknown == "x0" else (x_t * to_eps[0]).add_(x0, alpha=to_eps[1])
        if correct:
            before, *past = walk.past
            x_t = _apply(correct, before, x0, [newest, *past])
        _, *past = walk.past or [x_t]
        x_s = _apply(predict, x_t, x0, [newest, *past])
        walk.past = [x_t, newest, *past[: self.order - 1]]
        return x_s


def _apply(rule: Rule, x: Tensor, x0: Tensor, values: list[Tensor]) -> Tensor:
    x_s = x * rule.a
    if rule.b:
        x_s.add_(x0, alpha=rule.b)
    for weight, value in zip(rule.weights, values, strict=False):
        x_s.add_(value, alpha=weight)
    return x_s
