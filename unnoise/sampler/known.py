"""Overwriting what is known of x, at its noise level, after each step of a walk: replacement, ILVR, RePaint.

    x_s <- x_s + pinv(alpha_s y + sigma_s A noise - A x_s)

for the measurement y = A x + std eps. Of a mask this overwrites the known pixels, of a smaller picture the low frequencies. Where
y is noisy (std > 0) and the operator tells its singular values, each coordinate is given only the noise that it lacks, and none
is overwritten that is noisier than the level already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unnoise.operator import Measurement
from unnoise.sampler.base import Path, Sampler, Walk, path
from unnoise.sampler.ddim import DDIM
from unnoise.sampler.euler import ReverseDiffusion
from unnoise.sampler.langevin import Langevin, Level, _levels
from unnoise.schedule import Schedule


class Plan(NamedTuple):
    """The plan of the sampler that makes the steps, and the schedule on the times; returns by the index of their foot; the levels
    of a corrector by that of the step."""

    steps: Any
    at: Path
    again: Mapping[int, Return] = {}
    levels: Sequence[Level] = ()


class Return(NamedTuple):
    """A stretch of the walk that is walked again: up, scale x + std noise, and down by its plan."""

    sampler: Sampler
    times: list[float]
    plan: Any
    scale: float
    std: float


def overwritten(measured: Measurement, x: Tensor, alpha: float, sigma: float, noise: Tensor) -> Tensor:
    """x, at the level alpha, sigma, with what was measured of it in its place; see the module."""
    operator, y = measured.operator, measured.value(x)
    spectrum = operator.spectrum(x)
    if spectrum is None:
        return x + operator.pinv(alpha * y + sigma * operator(noise) - operator(x), x)
    own = alpha * measured.std * spectrum.inverse  # noise that the measurement brings itself
    lacking = (sigma**2 - own**2).clamp(min=0).sqrt()
    known = alpha * spectrum.inverse * spectrum.seen(y) + lacking * spectrum.into(noise)
    return spectrum.back(torch.where(spectrum.known & (own <= sigma), known, spectrum.into(x)))


@dataclass(frozen=True, eq=False)
class Replacement(Sampler):
    """Any sampler, with what was measured overwritten at the start, after each step and at the end.

    What is not measured only sees what is at its own noise level, so the parts do not harmonise and the law is biased,
    however many the steps (order 0). Costs no evaluations.

    Args:
        measured: What is known.
        sampler: Makes the steps.
        until: Overwrite down to this time only, and leave the rest of the walk free.

    Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, section 5,
    appendix I.2, arXiv:2011.13456; any linear operator: Chung et al., Come-Closer-Diffuse-Faster, 2022, eq. 9, arXiv:2112.05146
    """

    measured: Measurement
    sampler: Sampler = field(default_factory=lambda: DDIM(eta=1.0))
    until: float = 0.0

    order = 0
    stochastic = True

    def evaluations(self, n: int) -> int | None:
        return self.sampler.evaluations(n)

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Any:
        return Plan(self.sampler.plan(schedule, times), path(schedule, times))

    def start(self, walk: Walk, x: Tensor) -> Tensor:
        return self.overwrite(walk, x, 0)

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        return self.overwrite(walk, self.free(walk, x_t, k), k + 1)

    def finish(self, walk: Walk, x0: Tensor) -> Tensor:
        if self.until > walk.times[-1]:
            return x0
        return overwritten(self.measured, x0, 1.0, 0.0, torch.zeros_like(x0))

    def free(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        """The step of the sampler alone."""
        plan = walk.plan
        walk.plan = plan.steps
        x_s = self.sampler.step(walk, x_t, k)
        walk.plan = plan
        return x_s

    def overwrite(self, walk: Walk, x: Tensor, k: int) -> Tensor:
        """What was measured, at the k-th time."""
        t, at = walk.times[k], walk.plan.at
        if t < self.until:
            return x
        return overwritten(self.measured, x, at.alpha[k], at.sigma[k], walk.noise(x, t, t))


@dataclass(frozen=True, eq=False)
class ILVR(Replacement):
    """Iterative latent variable refinement: the low frequencies of a picture, the rest free, down to a time.

        x_s <- x_s + phi(y_s) - phi(x_s)

    where y_s is the picture noised and phi = pinv(A) A the projection on what a smaller picture shows (`Downsample`).
    `Replacement` that stops: the earlier (the larger `until`), the less the result keeps of the picture.

    Reference: Choi et al., ILVR: Conditioning Method for Denoising Diffusion Probabilistic Models, 2021, algorithm 1.
    arXiv:2108.02938
    """

    until: float = 0.1


@dataclass(frozen=True, eq=False)
class RePaint(Replacement):
    """Replacement that goes back up and comes down again, so that what is free learns of what is known.

        x_t <- scale x_s + std noise,   a draw of q(x_t | x_s), `jump` steps up; and those steps again

    The bias falls with `resamplings`. n + (resamplings - 1) jump floor((n - 1) / jump) evaluations with one a step. Where y is
    noisy, stretches below its noise are walked once: there nothing would hold what was measured.

    Args:
        jump: Steps of each return.
        resamplings: How often each stretch of `jump` steps is walked.

    Raises:
        ValueError: If either is below 1.

    Reference: Lugmayr et al., RePaint: Inpainting using Denoising Diffusion Probabilistic Models, 2022, algorithm 1, appendix B.
    arXiv:2201.09865
    """

    jump: int = 10
    resamplings: int = 10

    def __post_init__(self) -> None:
        if self.jump < 1 or self.resamplings < 1:
            raise ValueError(f"RePaint: jump and resamplings of at least 1 are expected, given {self.jump}, {self.resamplings}")

    def evaluations(self, n: int) -> int | None:
        if self.measured.std or self.sampler.evaluations(n) != n:
            return None
        return n + (self.resamplings - 1) * self.jump * ((n - 1) // self.jump)

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Any:
        plain, again = Replacement(self.measured, self.sampler, self.until), {}
        for low in range(self.jump, len(times), self.jump):
            stretch = list(times[low - self.jump : low + 1])
            ends = torch.tensor([stretch[-1], stretch[0]], dtype=torch.float64)
            scale, std = (float(part) for part in schedule.transition(ends[0], ends[1]))
            again[low] = Return(plain, stretch, plain.plan(schedule, stretch), scale, std)
        return Plan(self.sampler.plan(schedule, times), path(schedule, times), again)

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        x_s = super().step(walk, x_t, k)
        back = walk.plan.again.get(k + 1)
        if back and self._seen(walk, x_s, k + 1 - self.jump):
            for _ in range(self.resamplings - 1):
                x = (x_s * back.scale).add_(walk.noise(x_s, back.times[-1], back.times[0]), alpha=back.std)
                x_s = walk.along(back.sampler, x, back.times, back.plan)
        return x_s

    def _seen(self, walk: Walk, x: Tensor, k: int) -> bool:
        """Whether the measurement still tells something that the k-th level does not."""
        spectrum = self.measured.operator.spectrum(x) if self.measured.std else None
        clearest = 1.0 if spectrum is None else float(spectrum.s.max())
        return walk.plan.at.sigma[k] * clearest > self.measured.std * walk.plan.at.alpha[k]


@dataclass(frozen=True, eq=False)
class ReplacementPC(Replacement):
    """Predictor and corrector, what was measured overwritten after either: Score SDE's inpainting and colouring.

    (n - 1) times the corrector's evaluations more than the predictor.

    Args:
        sampler: The predictor.
        corrector: Stirs before each of its steps.

    Reference: Song et al. 2021, appendix I.2, with algorithms 2-5. arXiv:2011.13456
    """

    sampler: Sampler = field(default_factory=ReverseDiffusion)
    corrector: Langevin = field(default_factory=Langevin)

    def evaluations(self, n: int) -> int | None:
        inner = self.sampler.evaluations(n)
        return None if inner is None else inner + (n - 1) * self.corrector.steps

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Any:
        return super().plan(schedule, times)._replace(levels=_levels(schedule, times, range(len(times) - 1)))

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        stirred = self.corrector(walk, x_t, walk.plan.levels[k])
        return super().step(walk, self.overwrite(walk, stirred, k), k)
