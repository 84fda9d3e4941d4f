"""Singlestep DPM-Solver: blocks of one to three times, each solved on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from unnoise.sampler.base import Path, Sampler, Walk, path
from unnoise.schedule import Schedule


class Stage(NamedTuple):
    """x_s = a x + b x0 + the weighed unknowns of the block so far, x its first state."""

    place: int
    a: float
    b: float
    weights: tuple[float, ...]
    to_eps: tuple[float, float]


@dataclass(frozen=True)
class Singlestep(Sampler):
    """DPM-Solver and DPM-Solver++ without memory beyond a block: Runge and Kutta's idea in lam.

    The times are cut into blocks of `order`; within one every state is found from the first by the values gathered since, the
    last with full order. So n times cost n evaluations. At the end the blocks shrink, so that the walk's last evaluation (most
    often the last denoising) is a block of one, as in DPM-Solver-fast.

    Args:
        order: 1 to 3.
        unknown: "x0" for DPM-Solver++, "eps" for DPM-Solver.
        rule: How the slope counts. "heun": by the line or parabola through the values. "midpoint": half the gain in blocks of
            two; the slope to the newest value alone in blocks of three. "paper": midpoint, but the line within blocks of three.
            Order 3 is reached where times are even in lam, or nearly; on others it is 2.

    Reference: Lu et al., DPM-Solver, 2022, algorithms 1-2 and appendix D, arXiv:2206.00927; Lu et al., DPM-Solver++, 2022,
    algorithm
    1, arXiv:2211.01095
    """

    order: int = 3
    unknown: Literal["x0", "eps"] = "x0"
    rule: Literal["heun", "midpoint", "paper"] = "heun"

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 3:
            raise ValueError(f"Singlestep: order must be 1, 2 or 3, given {self.order}")

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Stage]:
        at = path(schedule, times)
        steps: list[Stage] = []
        for size in self._blocks(at, len(times) - getattr(times, "final", False)):
            first = len(steps)
            steps += [self._stage(at, first, place, size) for place in range(min(size, len(times) - 1 - first))]
        return steps

    def _blocks(self, at: Path, evaluations: int) -> list[int]:
        """Sizes of the blocks: full ones, then what is left; the last is never full, unless all are of one."""
        head = [1] if math.isinf(at.lam[0]) and evaluations > 1 else []
        left = evaluations - len(head)
        full = (left - 1) // self.order
        rest = left - full * self.order
        if self.order == 1:
            return [1] * evaluations
        return [*head, *[self.order] * full, *([rest] if rest < self.order else [rest - 1, 1])]

    def _stage(self, at: Path, first: int, place: int, size: int) -> Stage:
        k = first + place
        alpha, sigma, h = at.alpha[k + 1], at.sigma[k + 1], at.lam[k + 1] - at.lam[first]
        to_eps = (1 / at.sigma[k], -at.alpha[k] / at.sigma[k])
        if math.isinf(h):
            kept = sigma / at.sigma[k]
            return Stage(0, kept, alpha - kept * at.alpha[k], (), to_eps)
        if self.unknown == "x0":
            kept, scale, g = sigma / at.sigma[first], alpha, -math.expm1(-h)
            g_1 = 1 - g / h
            gains = (g, g_1, 0.5 - g_1 / h)
        else:
            kept, scale, g = alpha / at.alpha[first], -sigma, math.expm1(h)
            gains = (g, g / h - 1, (g / h - 1) / h - 0.5)
        places = [(at.lam[first + i] - at.lam[first]) / h for i in range(1, place + 1)]
        return Stage(place, kept, 0.0, tuple(scale * w for w in self._weights(gains, places, size)), to_eps)

    def _weights(self, gains: tuple[float, float, float], places: list[float], size: int) -> list[float]:
        """Of the block's values, oldest first; the second and third stand at `places` of the way."""
        g, g_1, g_2 = gains
        if not places:
            return [g]
        if len(places) == 1:
            slope = (g / 2 if self.rule == "midpoint" or (self.rule == "paper" and size == 2) else g_1) / places[0]
            return [g - slope, slope]
        near, far = places
        if self.rule != "heun":
            return [g - g_1 / far, 0.0, g_1 / far]
        by_near = (far * g_1 - 2 * g_2) / (far - near) / near
        by_far = (2 * g_2 - near * g_1) / (far - near) / far
        return [g - by_near - by_far, by_near, by_far]

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        place, a, b, weights, to_eps = walk.plan[k]
        x0 = walk.denoise(x_t, walk.times[k])
        newest = x0 if self.unknown == "x0" else (x_t * to_eps[0]).add_(x0, alpha=to_eps[1])
        walk.past = [x_t, newest] if place == 0 else [*walk.past, newest]
        x, *values = walk.past
        x_s = x * a
        if b:
            x_s.add_(x0, alpha=b)
        for weight, value in zip(weights, values, strict=False):
            if weight:
                x_s.add_(value, alpha=weight)
        return x_s
