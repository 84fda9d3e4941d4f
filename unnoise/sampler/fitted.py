"""A walk whose numbers were found for one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from unnoise.sampler.base import Sampler, Walk, path
from unnoise.sampler.flow import FlowAdams, terms
from unnoise.schedule import Schedule
from unnoise.times import FittedWalk


@dataclass(frozen=True)
class Fitted(Sampler):
    """Follows the weights that `times.Fitted` brings along with its times; on any other times it leaves the walk to `otherwise`.

        y_s = y_t + sum_j w_j v_j

    with y and v of `FlowAdams`, v_j the newest first. Every linear method of one evaluation a step is of this form. The last step
    leads to the data themselves, u = 0; there the single weight -u is the last denoising.

    Args:
        otherwise: The sampler for numbers of steps that nothing was fitted for.

    Reference: Frankel et al., S4S: Solving for a Fast Diffusion Model Solver, 2025, section 3. arXiv:2502.17423
    """

    otherwise: Sampler = field(default_factory=FlowAdams)

    @property
    def order(self) -> int:  # type: ignore[override]
        return self.otherwise.order

    @property
    def stochastic(self) -> bool:
        return self.otherwise.stochastic

    def evaluations(self, n: int) -> int | None:
        return self.otherwise.evaluations(n)

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Sequence[Any]:
        if not isinstance(times, FittedWalk):
            return self.otherwise.plan(schedule, times)
        at = path(schedule, times)
        scales = [alpha + sigma for alpha, sigma in zip(at.alpha[1:-1], at.sigma[1:-1], strict=True)]
        return [terms(at, k, row, scale) for k, (row, scale) in enumerate(zip(times.weights, [*scales, 1.0], strict=True))]

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        if not isinstance(walk.times, FittedWalk):
            return self.otherwise.step(walk, x_t, k)
        a, b, older, _, to_v = walk.plan[k]
        x0 = walk.denoise(x_t, walk.times[k])
        x_s = (x_t * a).add_(x0, alpha=b)
        for weight, v in zip(older, walk.past, strict=False):
            x_s.add_(v, alpha=weight)
        walk.past = [(x_t * to_v[0]).add_(x0, alpha=to_v[1]), *walk.past[: walk.times.memory - 1]]
        return x_s
