"""DDPM's sampler with each of its variances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unnoise.denoiser import Denoise
from unnoise.sampler.base import Noise, Sampler, Walk, path
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, Rng


@dataclass(frozen=True)
class Ancestral(Sampler):
    """DDPM's sampler: a draw of q(x_s | x_t, x) with x0 in the place of x.

        x_s = c_x x0 + c_t x_t + std noise

    with the posterior's c_x and c_t. Order 1, one evaluation a step. A gradient `score` in the answer (classifier guidance as in
    ADM) moves the mean by std^2 score.

    Args:
        variance: std^2 = "small" is the posterior's own, right for data at a point; "large" that of the forward step, right for
            normal data. Real data lie between. "learned": the network's fraction v of the way from small to large, in
            logarithms and given as 2 v - 1. "analytic": small + c_x^2 times the mean variance of x given x_t.
        moments: For "analytic", pairs (t, E|eps|^2 / D) of the predicted noise, t rising; linear between. See `noise_moments`.

    Raises:
        ValueError: If "analytic" comes without moments or moments without "analytic"; in a walk, if a network learned no
            variance.

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, algorithm 2 and section 3.2, arXiv:2006.11239; Nichol &
    Dhariwal, Improved DDPM, 2021, eq. 15, arXiv:2102.09672; Bao et al., Analytic-DPM, 2022, theorem 1, arXiv:2201.06503;
    Dhariwal & Nichol, Diffusion Models Beat GANs, 2021, algorithm 1, arXiv:2105.05233
    """

    variance: Literal["small", "large", "learned", "analytic"] = "small"
    moments: tuple[tuple[float, float], ...] = ()

    stochastic = True

    def __post_init__(self) -> None:
        if self.variance not in ("small", "large", "learned", "analytic"):
            raise ValueError(f"Ancestral: variance must be small, large, learned or analytic, given {self.variance!r}")
        if (self.variance == "analytic") != bool(self.moments):
            raise ValueError("Ancestral: variance 'analytic' and moments come together")

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[tuple[float, ...]]:
        t = torch.tensor(list(times), dtype=torch.float64)
        c_x, c_t, small = schedule.posterior(t[1:], t[:-1])
        _, large = schedule.transition(t[1:], t[:-1])
        if self.variance == "analytic":
            small = (small**2 + c_x**2 * self._data_variance(schedule, t[:-1])).sqrt()
        std = large if self.variance == "large" else small
        return list(zip(c_t.tolist(), c_x.tolist(), std.tolist(), large.tolist(), strict=True))

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        a, b, c, large = walk.plan[k]
        x0 = walk.denoise(x_t, walk.times[k])
        x_s = (x_t * a).add_(x0, alpha=b)
        noise, score = walk.noise(x_t, walk.times[k], walk.times[k + 1]), walk.answer.score
        if self.variance != "learned":
            x_s.add_(noise, alpha=c)
            return x_s if score is None else x_s.add_(score, alpha=c**2)
        if walk.answer.variance is None:
            raise ValueError("Ancestral: variance 'learned' needs a network that learns one")
        # small (large / small)^fraction: two powers of their own could overflow where small is nearly large.
        std = (walk.answer.variance + 1).mul_(math.log(large / c) / 2).exp_().mul_(c) if c else x_t.new_zeros(())
        x_s.addcmul_(std, noise)
        return x_s if score is None else x_s.addcmul_(std**2, score)

    def _data_variance(self, schedule: Schedule, t: Tensor) -> Tensor:
        """The mean variance of x given x_t, (sigma / alpha)^2 (1 - E|eps|^2 / D), at least 0."""
        alpha, sigma = schedule(t)
        places, moments = torch.tensor(self.moments, dtype=torch.float64).T.contiguous()
        right = torch.searchsorted(places, t).clamp(1, len(places) - 1) if len(places) > 1 else torch.zeros_like(t).long()
        left = (right - 1).clamp(min=0)
        share = ((t - places[left]) / (places[right] - places[left])).nan_to_num(0).clamp(0, 1)
        return (sigma / alpha) ** 2 * (1 - torch.lerp(moments[left], moments[right], share)).clamp(0, 1)


def noise_moments(
    denoiser: Denoise, x: Tensor, times: Sequence[float], rng: Rng | Noise, cond: Cond | None = None
) -> tuple[tuple[float, float], ...]:
    """E|eps|^2 / D of the predicted noise at each time, over the samples x of the data: what `Ancestral("analytic")` takes.

    Reference: Bao et al., Analytic-DPM, 2022, eq. 8. arXiv:2201.06503
    """
    walk = Walk(denoiser, cond, rng, times, None)
    t, alpha, sigma, _ = path(denoiser.schedule, sorted(times))
    found = []
    for k in range(len(t)):
        x_t = alpha[k] * x + sigma[k] * walk.noise(x, t[k], t[k])
        eps = (x_t - alpha[k] * walk.denoise(x_t, t[k])) / sigma[k]
        found.append((t[k], float(eps.square().mean())))
    return tuple(found)
