"""Many walks for each sample, weighed by the measurement: exact in the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from unnoise.denoiser.vjp import answer_with_vjp
from unnoise.operator import Measurement
from unnoise.operator.solve import dot
from unnoise.sampler.base import Path, Sampler, Walk, path
from unnoise.sampler.spectral import spectrum_of
from unnoise.schedule import Schedule

RESAMPLE = 0.5  # of the particles: when fewer are effective, the heavy are doubled and the light dropped


class Plan(NamedTuple):
    """The ancestral sampler's (c_x, c_t, std) of each step, and the schedule on the times."""

    steps: list[tuple[float, ...]]
    at: Path


@dataclass(frozen=True, eq=False)
class Twisted(Sampler):
    """Twisted diffusion sampler: sequential Monte Carlo over the ancestral sampler's steps.

        proposal  N(c_x x0 + c_t x_t + std^2 grad log h_t, std^2 I);   h_t(x_t) = N(y; A x0, r_t^2 A A^T + std_y^2)
        weight    p(x_s | x_t) h_s(x_s) / (proposal(x_s) h_t(x_t))

    with the twist h_t of `guidance.PiGDM`. Each sample is one of `particles` of its own, drawn by their weights at the end, so
    samples stay independent of each other and of their batch. Exact as particles and times grow; with one particle it is
    guidance alone. Each evaluation is of `particles` rows a sample, and is counted so; as many passes back.

    Args:
        measured: Of a linear operator that tells its singular values.
        particles: For each sample.
        spread: The standard deviation of x about its mean, for r_t.

    Reference: Wu et al., Practical and Asymptotically Exact Conditional Sampling in Diffusion Models, 2023, algorithm 1,
    eq. 8-11. arXiv:2306.17775
    """

    measured: Measurement
    particles: int = 16
    spread: float = 1.0

    order = 0
    stochastic = True

    def __post_init__(self) -> None:
        if self.particles < 1 or not self.spread > 0:
            raise ValueError(f"Twisted: particles >= 1 and spread > 0 are expected, given {self.particles} and {self.spread:g}")

    def evaluations(self, n: int) -> int:
        return n * self.particles

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Plan:
        t = torch.tensor(list(times), dtype=torch.float64)
        parts = [part.tolist() for part in schedule.posterior(t[1:], t[:-1])]
        return Plan(list(zip(*parts, strict=True)), path(schedule, times))

    def start(self, walk: Walk, x: Tensor) -> Tensor:
        """`particles` rows in the place of each; the first is the prior's draw, the others have noise of their own."""
        spectrum_of(self.measured, x)
        at: Path = walk.plan.at
        x = (
            self._noise(walk, x, at.t[0], at.t[0])
            .mul_(math.hypot(at.alpha[0], at.sigma[0]))
            .index_copy_(0, torch.arange(0, self.particles * len(x), self.particles, device=x.device), x)
        )
        walk.cond = {name: value.repeat_interleave(self.particles, 0) for name, value in (walk.cond or {}).items()}
        walk.past = [x.new_zeros(len(x) // self.particles, self.particles)]  # log weights, without the twist of where they are
        return x

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        (c_x, c_t, std), at = walk.plan.steps[k], walk.plan.at
        answer, vjp = answer_with_vjp(walk.denoiser, x_t, at.t[k], walk.cond)
        walk.answer, walk.nfe = answer, walk.nfe + answer.nfe * self.particles
        log_twist, slope = self._twist(answer.x0, at.alpha[k], at.sigma[k])
        shift = std**2 * vjp(slope)
        mean = c_x * answer.x0 + c_t * x_t
        rows, log_weight = self._resampled(walk, walk.past[0] + log_twist.view_as(walk.past[0]), x_t, at.t[k])
        mean, shift, log_twist = mean[rows], shift[rows], log_twist[rows]
        noise = self._noise(walk, x_t[:: self.particles], at.t[k], at.t[k + 1]).mul_(std)
        moved = (dot(noise, noise) - dot(noise + shift, noise + shift)) / (2 * std**2)  # log p - log proposal
        walk.past = [log_weight + (moved - log_twist).view_as(log_weight)]
        return mean + shift + noise

    def finish(self, walk: Walk, x0: Tensor) -> Tensor:
        if len(walk.past[0]) == len(x0):
            return x0
        if not getattr(walk.times, "final", False):
            walk.nfe += (self.particles - 1) * walk.answer.nfe
        log_twist, _ = self._twist(x0, walk.plan.at.alpha[-1], walk.plan.at.sigma[-1])
        log_weight = walk.past[0] + log_twist.view_as(walk.past[0])
        below = self._uniform(walk, x0, walk.times[-1])[:, None] < log_weight.softmax(1).cumsum(1)
        chosen = below.long().argmax(1)
        return x0.unflatten(0, log_weight.shape)[torch.arange(len(chosen)), chosen]

    def _twist(self, x0: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor]:
        """log h_t but for a constant, (rows,), and A^T (r^2 A A^T + std^2)^-1 (y - A x0)."""
        measured = self.measured.repeated(self.particles)
        spectrum = spectrum_of(measured, x0)
        r2 = (self.spread * sigma) ** 2 / (sigma**2 + (alpha * self.spread) ** 2)
        off = torch.where(spectrum.known, spectrum.seen(measured.value(x0)) - spectrum.s * spectrum.into(x0), 0)
        white = off / (r2 * spectrum.s**2 + measured.std**2).where(spectrum.known, torch.ones_like(spectrum.s))
        return -dot(off, white) / 2, spectrum.back(spectrum.s * white)

    def _resampled(self, walk: Walk, log_weight: Tensor, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """Rows of the particles that go on, and their log weights: where few of a sample's are effective, a systematic draw."""
        weight = log_weight.softmax(1)
        poor = 1 / (weight**2).sum(1) < RESAMPLE * self.particles
        every = torch.arange(self.particles, device=x.device)
        places = (every + self._uniform(walk, x, t)[:, None]) / self.particles
        drawn = torch.searchsorted(weight.cumsum(1), places.to(weight.dtype)).clamp(max=self.particles - 1)
        chosen = torch.where(poor[:, None], drawn, every)
        level = log_weight.logsumexp(1, keepdim=True) - math.log(self.particles)
        kept = torch.where(poor[:, None], level.expand_as(log_weight), log_weight) - level
        return (chosen + self.particles * torch.arange(len(weight), device=x.device)[:, None]).flatten(), kept

    def _noise(self, walk: Walk, like: Tensor, t: float, s: float) -> Tensor:
        """Noise of each particle, from its sample's own stream; `like` is of one row a sample."""
        return walk.noise(like[:, None].expand(-1, self.particles, *like.shape[1:]), t, s).flatten(0, 1)

    def _uniform(self, walk: Walk, x: Tensor, t: float) -> Tensor:
        """A number in (0, 1) for each sample: the normal law's quantile of a normal draw."""
        like = x[:: self.particles].flatten(1)[:, :1]
        return torch.special.ndtr(walk.source(like, t, t)[:, 0])  # type: ignore[misc]
