"""Samplers around a sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from unnoise.sampler.base import Sampler, Walk
from unnoise.schedule import Schedule


class Around(Sampler):
    """One that lets another make the steps, and does something besides; the law is no longer that of the data (order 0)."""

    sampler: Sampler

    order = 0

    @property
    def stochastic(self) -> bool:
        return self.sampler.stochastic

    def evaluations(self, n: int) -> int | None:
        return self.sampler.evaluations(n)

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Sequence[Any]:
        return self.sampler.plan(schedule, times)

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        return self.sampler.step(walk, x_t, k)
