"""Walks from noise to data.

A sampler is a frozen dataclass of its options. It plans every coefficient of a walk once, in float64, as Python numbers; its
`step` is arithmetic on tensors alone. The walk follows one list of times, and ends by denoising at the last of them: nothing
ever divides by sigma_0. Throughout, a step goes from time t to time s < t, and

    lam = log(alpha / sigma),   h = lam_s - lam_t > 0,   eps = (x_t - alpha_t x0) / sigma_t.
"""

from __future__ import annotations

import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unnoise.denoiser import Answer, Denoise
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, Rng


class Moment(NamedTuple):
    """Where a walk stands after its k-th step: the state x at time t, and the estimate x0 that the step began with.

    The last moment has x = x0, the result, at the time where it was denoised.
    """

    k: int
    t: float
    x: Tensor
    x0: Tensor
    nfe: int


class Path(NamedTuple):
    """The schedule on the times of a walk, as Python numbers."""

    t: list[float]
    alpha: list[float]
    sigma: list[float]
    lam: list[float]


def path(schedule: Schedule, times: Sequence[float]) -> Path:
    """alpha, sigma and lam = log(alpha / sigma) on each time, in float64."""
    t = torch.tensor(list(times), dtype=torch.float64)
    alpha, sigma = schedule(t)
    return Path(t.tolist(), alpha.tolist(), sigma.tolist(), (alpha.log() - sigma.log()).tolist())


class Walk:
    """One run of a sampler: the denoiser with its conditions, the randomness, the plan, and what is remembered of past steps."""

    def __init__(self, denoiser: Denoise, cond: Cond | None, rng: Rng | None, times: Sequence[float], plan: Any) -> None:
        self.denoiser, self.cond, self.rng = denoiser, cond, rng
        self.times, self.plan = times, plan
        self.past: list[Tensor] = []
        self.nfe = 0
        self.answer: Answer

    def denoise(self, x_t: Tensor, t: float) -> Tensor:
        """E[x | x_t]; the whole answer stays in `answer`."""
        self.answer = self.denoiser.answer(x_t, t, self.cond)
        self.nfe += self.denoiser.evaluations
        return self.answer.x0

    def noise(self, like: Tensor, t: float, s: float) -> Tensor:
        """Fresh noise N(0, I) for the interval from t to s, a function of each sample's seed and of the interval.

        Raises:
            ValueError: If the walk was begun without randomness.
        """
        if self.rng is None:
            raise ValueError("this sampler draws noise: give it rng=Rng(seeds)")
        counter = zlib.crc32(struct.pack("<dd", t, s))
        drawn = self.rng.to(like.device).normal(like.shape[1:], "walk", counter, dtype=like.dtype)
        return self.denoiser.project(drawn, self.cond)


class Sampler(ABC):
    """A way to walk. A member writes `plan` and `step`; everything else is here."""

    @abstractmethod
    def plan(self, schedule: Schedule, times: Sequence[float]) -> Sequence[Any]:
        """The coefficients of each of the len(times) - 1 steps."""

    @abstractmethod
    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        """The k-th step: x_t at walk.times[k] to x_s at walk.times[k + 1]. `x_t` itself is left as it is."""

    def walk(
        self, denoiser: Denoise, x: Tensor, times: Sequence[float], cond: Cond | None = None, rng: Rng | None = None
    ) -> Iterator[Moment]:
        """The walk, moment by moment: one for each step, then one for the last denoising.

        Args:
            denoiser: Answers E[x | x_t].
            x: The state at times[0], (B, ...).
            times: Strictly falling; see `unnoise.times`.
            cond: Conditions of the denoiser.
            rng: One stream a sample; needed by samplers that draw noise.
        """
        walk = Walk(denoiser, cond, rng, times, self.plan(denoiser.schedule, times))
        for k in range(len(times) - 1):
            x = self.step(walk, x, k)
            yield Moment(k, times[k + 1], x, walk.answer.x0, walk.nfe)
        if not getattr(times, "final", False):
            x = walk.denoise(x, times[-1])
            yield Moment(len(times) - 1, times[-1], x, x, walk.nfe)

    def __call__(
        self, denoiser: Denoise, x: Tensor, times: Sequence[float], cond: Cond | None = None, rng: Rng | None = None
    ) -> Tensor:
        """The end of the walk; arguments as those of `walk`."""
        for moment in self.walk(denoiser, x, times, cond, rng):
            x = moment.x
        return x


def prior(schedule: Schedule, shape: Sequence[int], t: float, rng: Rng, dtype: torch.dtype = torch.float32) -> Tensor:
    """The noise a walk starts from at time t, (B, *shape): normal with the variance alpha_t^2 + sigma_t^2 of x_t for unit data."""
    alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    return rng.normal(shape, "prior", dtype=dtype).mul_(float((alpha**2 + sigma**2).sqrt()))
