"""Samplers whose step is a sum of x_t, x0 and noise: DDIM and its kin."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from unnoise.sampler.base import Sampler, Walk, path
from unnoise.schedule import Schedule

Sum = tuple[float, ...]


class Linear(Sampler):
    """x_s = a x_t + b x0 + c noise, with numbers a, b, c for each step."""

    @abstractmethod
    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Sum]: ...

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        a, b, c = walk.plan[k][:3]
        x0 = walk.denoise(x_t, walk.times[k])
        x_s = (x_t * a).add_(x0, alpha=b)
        return x_s.add_(walk.noise(x_t, walk.times[k], walk.times[k + 1]), alpha=c) if c else x_s


@dataclass(frozen=True)
class DDIM(Linear):
    """Denoising diffusion implicit model: deterministic at eta = 0, ancestral (DDPM) at eta = 1.

        x_s = alpha_s x0 + sigma_s (sqrt(1 - tau) eps + sqrt(tau) noise)
        tau = eta^2 (1 - (alpha_t sigma_s / (alpha_s sigma_t))^2)

    Order 1, one evaluation a step. In sigma / alpha it is Euler's method; with eta = 1 it is also known as Euler ancestral.

    Args:
        eta: Share of the ancestral sampler's standard deviation that the fresh noise has, in [0, 1].
        raw: Take eps from the answer before clipping, as some published pipelines do, and not from the clipped x0.

    Reference: Song et al., Denoising Diffusion Implicit Models, 2021, eq. 12 and 16. arXiv:2010.02502
    """

    eta: float = 0.0
    raw: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"DDIM: eta must lie in [0, 1], given {self.eta:g}")

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Sum]:
        _, alpha, sigma, _ = path(schedule, times)
        steps: list[Sum] = []
        for k in range(len(times) - 1):
            tau = self.eta**2 * (1 - (alpha[k] * sigma[k + 1] / (alpha[k + 1] * sigma[k])) ** 2) if self.eta else 0.0
            kept = sigma[k + 1] * (1 - tau) ** 0.5 / sigma[k]
            b = alpha[k + 1] if self.raw else alpha[k + 1] - kept * alpha[k]
            steps.append((kept, b, sigma[k + 1] * tau**0.5, kept * alpha[k]))
        return steps

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        x_s = super().step(walk, x_t, k)
        if self.raw:
            raw = walk.answer.x0 if walk.answer.raw is None else walk.answer.raw
            x_s.add_(raw, alpha=-walk.plan[k][3])
        return x_s


@dataclass(frozen=True)
class Renoise(Linear):
    """Denoise, then noise afresh to the next level: x_s = alpha_s x0 + sigma_s noise.

    The sampler of consistency models, whose x0 is a sample. With the mean E[x | x_t] for x0 its law is too narrow, however many
    the steps (order 0). One evaluation a step.

    Reference: Song et al., Consistency Models, 2023, algorithm 1. arXiv:2303.01469
    """

    order = 0
    stochastic = True

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[Sum]:
        _, alpha, sigma, _ = path(schedule, times)
        return [(0.0, a, s) for a, s in zip(alpha[1:], sigma[1:], strict=True)]
