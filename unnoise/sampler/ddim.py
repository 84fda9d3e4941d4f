"""The two samplers of the first papers: each step is a sum of x_t, x0 and fresh noise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unnoise.sampler.base import Sampler, Walk, path
from unnoise.schedule import Schedule


class Linear(Sampler):
    """x_s = a x_t + b x0 + c noise, with numbers a, b, c for each step."""

    @abstractmethod
    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[tuple[float, float, float]]: ...

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        a, b, c = walk.plan[k]
        x_s = (x_t * a).add_(walk.denoise(x_t, walk.times[k]), alpha=b)
        return x_s.add_(walk.noise(x_t, walk.times[k], walk.times[k + 1]), alpha=c) if c else x_s


@dataclass(frozen=True)
class DDIM(Linear):
    """Denoising diffusion implicit model: deterministic at eta = 0, ancestral (DDPM) at eta = 1.

        x_s = alpha_s x0 + sigma_s (sqrt(1 - tau) eps + sqrt(tau) noise)
        tau = eta^2 (1 - (alpha_t sigma_s / (alpha_s sigma_t))^2)

    Order 1, one evaluation a step.

    Args:
        eta: Share of the ancestral sampler's standard deviation that the fresh noise has, in [0, 1].

    Reference: Song et al., Denoising Diffusion Implicit Models, 2021, eq. 12 and 16. arXiv:2010.02502
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"DDIM: eta must lie in [0, 1], given {self.eta:g}")

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[tuple[float, float, float]]:
        _, alpha, sigma, _ = path(schedule, times)
        steps = []
        for k in range(len(times) - 1):
            tau = self.eta**2 * (1 - (alpha[k] * sigma[k + 1] / (alpha[k + 1] * sigma[k])) ** 2)
            kept = sigma[k + 1] * (1 - tau) ** 0.5 / sigma[k]
            steps.append((kept, alpha[k + 1] - kept * alpha[k], sigma[k + 1] * tau**0.5))
        return steps


@dataclass(frozen=True)
class Ancestral(Linear):
    """DDPM's sampler: a draw of q(x_s | x_t, x) with x0 in the place of x.

        x_s = c_x x0 + c_t x_t + std noise

    with the posterior's c_x and c_t. Order 1, one evaluation a step.

    Args:
        variance: "small" is the posterior's own, right for data at a point; "large" that of the forward step,
            std_{t|s}^2, right for normal data. Real data lie between.

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, algorithm 2 and section 3.2. arXiv:2006.11239
    """

    variance: Literal["small", "large"] = "small"

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[tuple[float, float, float]]:
        t = torch.tensor(list(times), dtype=torch.float64)
        c_x, c_t, small = schedule.posterior(t[1:], t[:-1])
        std = small if self.variance == "small" else schedule.transition(t[1:], t[:-1])[1]
        return list(zip(c_t.tolist(), c_x.tolist(), std.tolist(), strict=True))
