"""Walks from noise to data.

A sampler is a frozen dataclass of its options. It plans every coefficient of a walk once, in float64, as Python numbers; its
`step` is arithmetic on tensors alone. The walk follows one list of times, and ends by denoising at the last of them: nothing
ever divides by sigma_0. Throughout, a step goes from time t to time s < t, and

    lam = log(alpha / sigma),   h = lam_s - lam_t > 0,   eps = (x_t - alpha_t x0) / sigma_t.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unnoise.denoiser import Answer, Denoise
from unnoise.sampler.brownian import Brownian
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, Rng

Noise = Callable[[Tensor, float, float], Tensor]  # (like, t, s) -> N(0, I) of that shape for the interval from t to s


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
    """alpha, sigma and lam = log(alpha / sigma) on each time, in float64; lam is infinite where alpha or sigma is 0."""
    t = torch.tensor(list(times), dtype=torch.float64)
    alpha, sigma = schedule(t)
    return Path(t.tolist(), alpha.tolist(), sigma.tolist(), (alpha.log() - sigma.log()).tolist())


class Walk:
    """One run of a sampler: the denoiser with its conditions, the randomness, the plan, and what is remembered of past steps."""

    def __init__(self, denoiser: Denoise, cond: Cond | None, rng: Rng | Noise | None, times: Sequence[float], plan: Any) -> None:
        begin = getattr(denoiser, "begin", None)  # guidance may remember, each walk's for itself
        self.denoiser: Denoise = begin() if begin else denoiser
        self.cond = cond
        self.source: Noise | None = Brownian(rng, denoiser.schedule, times) if isinstance(rng, Rng) else rng
        self.times, self.plan = times, plan
        self.past: list[Tensor] = []
        self.nfe = 0
        self.answer: Answer

    def denoise(self, x_t: Tensor, t: float | Tensor) -> Tensor:
        """E[x | x_t]; the whole answer stays in `answer`."""
        self.answer = self.denoiser.answer(x_t, t, self.cond)
        self.nfe += self.answer.nfe
        return self.answer.x0

    def noise(self, like: Tensor, t: float, s: float) -> Tensor:
        """Noise N(0, I) for the interval from t to s: a function of each sample's seed, whatever its batch (see `Brownian`).

        Raises:
            ValueError: If the walk was begun without randomness.
        """
        if self.source is None:
            raise ValueError("this sampler draws noise: give it rng=Rng(seeds)")
        return self.denoiser.project(self.source(like, t, s), self.cond)

    def along(self, sampler: Sampler, x: Tensor, times: Sequence[float], plan: Any) -> Tensor:
        """Another sampler's steps as a part of this walk, from x at times[0] to times[-1]."""
        branch = copy.copy(self)
        branch.times, branch.plan, branch.past = times, plan, []
        for k in range(len(times) - 1):
            x = sampler.step(branch, x, k)
        self.nfe, self.answer = branch.nfe, branch.answer
        return x


class Sampler(ABC):
    """A way to walk. A member writes `plan` and `step`; everything else is here.

    `order`: the end's error falls as the largest step to this power (for stochastic members the error of the law).
    """

    order: int = 1

    @property
    def stochastic(self) -> bool:
        """Whether a walk draws noise."""
        return bool(getattr(self, "eta", 0) or getattr(self, "churn", 0))

    @abstractmethod
    def plan(self, schedule: Schedule, times: Sequence[float]) -> Sequence[Any]:
        """The coefficients of each of the len(times) - 1 steps."""

    @abstractmethod
    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        """The k-th step: x_t at walk.times[k] to x_s at walk.times[k + 1]. `x_t` itself is left as it is."""

    def start(self, walk: Walk, x: Tensor) -> Tensor:
        """The state at times[0], made of the prior's draw: something else only where more is known of x."""
        return x

    def finish(self, walk: Walk, x0: Tensor) -> Tensor:
        """The result, made of the walk's end: something else only where more is known of x."""
        return x0

    def evaluations(self, n: int) -> int | None:
        """NFE of a walk of n times that ends by denoising; None where only the walk can tell."""
        return n

    def walk(
        self,
        denoiser: Denoise,
        x: Tensor,
        times: Sequence[float],
        cond: Cond | None = None,
        rng: Rng | Noise | None = None,
    ) -> Iterator[Moment]:
        """The walk, moment by moment: one for each step, then one for the last denoising.

        Args:
            denoiser: Answers E[x | x_t].
            x: The state at times[0], (B, ...).
            times: Strictly falling; see `unnoise.times`.
            cond: Conditions of the denoiser.
            rng: One stream a sample, or a source of one's own, (like, t, s) -> noise; needed by samplers that draw noise.
        """
        walk = Walk(denoiser, cond, rng, times, self.plan(denoiser.schedule, times))
        x, final = self.start(walk, x), getattr(times, "final", False)
        for k in range(len(times) - 1):
            x = self.step(walk, x, k)
            if final and k == len(times) - 2:
                x = self.finish(walk, x)
            yield Moment(k, times[k + 1], x, walk.answer.x0, walk.nfe)
        if not final:
            x = self.finish(walk, walk.denoise(x, times[-1]))
            yield Moment(len(times) - 1, times[-1], x, x, walk.nfe)

    def __call__(
        self,
        denoiser: Denoise,
        x: Tensor,
        times: Sequence[float],
        cond: Cond | None = None,
        rng: Rng | Noise | None = None,
    ) -> Tensor:
        """The end of the walk; arguments as those of `walk`."""
        walk = Walk(denoiser, cond, rng, times, self.plan(denoiser.schedule, times))
        x = self.start(walk, x)
        for k in range(len(times) - 1):  # without moments, which would hold the last x0 through the next step
            x = self.step(walk, x, k)
        return self.finish(walk, x if getattr(times, "final", False) else walk.denoise(x, times[-1]))


def encode(sampler: Sampler, denoiser: Denoise, x: Tensor, times: Sequence[float], cond: Cond | None = None) -> Tensor:
    """The noise that a deterministic sampler would turn into x: its walk backwards, from times[-1] up to times[0].

    x is taken as the state at times[-1]. The inverse is that of the equation, as exact as the sampler's steps are short.

    Raises:
        ValueError: If the sampler draws noise.

    Reference: Song et al., Denoising Diffusion Implicit Models, 2021, section 5.4 (for DDIM). arXiv:2010.02502
    """
    if sampler.stochastic:
        raise ValueError(f"encode: {sampler!r} draws noise; a deterministic sampler is expected")
    rising = list(times)[::-1]
    walk = Walk(denoiser, cond, None, rising, None)
    return walk.along(sampler, x, rising, sampler.plan(denoiser.schedule, rising))


def prior(schedule: Schedule, shape: Sequence[int], t: float, rng: Rng, dtype: torch.dtype = torch.float32) -> Tensor:
    """The noise a walk starts from at time t, (B, *shape): normal, of the variance alpha_t^2 + sigma_t^2 of x_t for unit data."""
    alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    return rng.normal(shape, "prior", dtype=dtype).mul_(float((alpha**2 + sigma**2).sqrt()))
