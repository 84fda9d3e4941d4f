"""Langevin's dynamics: noise and score at one level, alone or between the steps of another sampler."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from torch import Tensor

from unnoise.sampler.base import Sampler, Walk, path
from unnoise.sampler.euler import ReverseDiffusion
from unnoise.schedule import Schedule
from unnoise.tensor import expand


class Level(NamedTuple):
    """A time, score = p x_t + q x0 there, sigma, and (alpha_t / alpha_s)^2 of the step that begins there."""

    t: float
    p: float
    q: float
    sigma: float
    kept: float


class Both(NamedTuple):
    """The predictor's plan, and where the corrector stirs before each step."""

    steps: Sequence[Any]
    levels: list[Level]


def _levels(schedule: Schedule, times: Sequence[float], wanted: range) -> list[Level]:
    t, alpha, sigma, _ = path(schedule, times)
    kept = [(a / b) ** 2 for a, b in itertools.pairwise(alpha)] + [1.0]
    return [Level(t[k], -1 / sigma[k] ** 2, alpha[k] / sigma[k] ** 2, sigma[k], kept[k]) for k in wanted]


def _score(walk: Walk, x: Tensor, level: Level) -> Tensor:
    x0 = walk.denoise(x, level.t)
    return (x * level.p).add_(x0, alpha=level.q)


@dataclass(frozen=True)
class Langevin:
    """Corrector: `steps` times x + size score + sqrt(2 size) noise at one level, not a sampler of its own.

        size = 2 kept (snr |noise| / |score|)^2        rule "norms"
        size = 2 kept (snr sigma_t)^2                  rule "sigma"

    with kept = (alpha_t / alpha_s)^2 of the step that follows (1 when variance explodes, 1 - beta in a chain).

    Args:
        snr: Ratio of the score's part to the noise's.
        steps: Evaluations at each level.
        rule: The size of a step.
        norm: |.| of each sample, or, as in the reference code, its mean over the batch: then an image depends on its batch.

    Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, algorithms 4-5 and
    appendix G. arXiv:2011.13456
    """

    snr: float = 0.16
    steps: int = 1
    rule: Literal["norms", "sigma"] = "norms"
    norm: Literal["sample", "batch"] = "sample"

    def __call__(self, walk: Walk, x: Tensor, level: Level) -> Tensor:
        for _ in range(self.steps):
            score, noise = _score(walk, x, level), walk.noise(x, level.t, level.t)
            if self.rule == "sigma":
                size = 2 * level.kept * (self.snr * level.sigma) ** 2
                x = x.add(score, alpha=size).add_(noise, alpha=(2 * size) ** 0.5)
                continue
            norms = [part.flatten(1).norm(dim=1) for part in (noise, score)]
            if self.norm == "batch":
                norms = [norm.mean().expand_as(norm) for norm in norms]
            sizes = expand(2 * level.kept * (self.snr * norms[0] / norms[1]) ** 2, x)
            x = x.addcmul(score, sizes).addcmul_(noise, (2 * sizes).sqrt())
        return x


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """Any sampler, with Langevin's corrector before each of its steps: (n - 1) times the corrector's evaluations more.

    The corrector's steps are of finite size: the law stays too wide by about snr^2, however many the times (order 0). With few
    values in a sample the norms of `Langevin` fluctuate and the law is worse; rule "sigma" then.

    Args:
        predictor: Makes the steps.
        corrector: Stirs before them.

    Reference: Song et al. 2021, algorithm 1. arXiv:2011.13456
    """

    predictor: Sampler = field(default_factory=ReverseDiffusion)
    corrector: Langevin = field(default_factory=Langevin)

    order = 0
    stochastic = True

    def evaluations(self, n: int) -> int | None:
        inner = self.predictor.evaluations(n)
        return None if inner is None else inner + (n - 1) * self.corrector.steps

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Sequence[Any]:
        return Both(self.predictor.plan(schedule, times), _levels(schedule, times, range(len(times) - 1)))

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        both: Both = walk.plan
        x_t = self.corrector(walk, x_t, both.levels[k])
        walk.plan = both.steps
        x_s = self.predictor.step(walk, x_t, k)
        walk.plan = both
        return x_s


@dataclass(frozen=True)
class AnnealedLangevin(Sampler):
    """Langevin's dynamics at each level in turn, without steps between: NCSN's sampler.

        x_s = x_t alpha_s / alpha_t;  then `steps` times x_s + size sigma_s^2 score / 2 + sqrt(size) sigma_s noise

    A level's dynamics must undo what noise is too much, so the law stays a little
    too wide however many the levels (order 0). (n - 1) steps + 1 evaluations.

    Args:
        size: Of a step, in units of the level's variance.
        steps: Evaluations at each level.

    Raises:
        ValueError: In a walk from alpha_t = 0, where x cannot be rescaled, or down to sigma_s = 0, where there is no score.

    Reference: Song & Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, algorithm 1.
    arXiv:1907.05600
    """

    size: float = 0.2
    steps: int = 5

    order = 0
    stochastic = True

    def evaluations(self, n: int) -> int:
        return (n - 1) * self.steps + 1

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[tuple[float, Level]]:
        _, alpha, sigma, _ = path(schedule, times)
        if sigma[-1] == 0 and len(sigma) > 1:
            raise ValueError("AnnealedLangevin needs a score, and sigma = 0 at the end of this walk has none; end above it")
        if alpha[0] == 0:
            raise ValueError(f"AnnealedLangevin rescales by 1 / alpha, 0 at the start of {schedule!r}; start below t = 1")
        scales = [s / t for t, s in itertools.pairwise(alpha)]
        return list(zip(scales, _levels(schedule, times, range(1, len(times))), strict=True))

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        scale, level = walk.plan[k]
        x, size = x_t * scale, self.size * level.sigma**2
        for _ in range(self.steps):
            x.add_(_score(walk, x, level), alpha=size / 2).add_(walk.noise(x, level.t, level.t), alpha=size**0.5)
        return x
