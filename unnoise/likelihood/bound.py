"""The variational bound of a walk: what its ancestral steps need to tell of x, kind by kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unnoise.denoiser import Denoise
from unnoise.loss.base import Noised
from unnoise.loss.vlb import Chain, Decoder, Variance, chain, normal_kl, terms
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, Rng, expand, masked_mean


class Bound(NamedTuple):
    """At least -log P(x) for each sample, in nats a dimension, by kind, (B,) each.

    Attributes:
        prior: How much of x is left at the last time.
        denoising: All steps but the one that ends on the data.
        reconstruction: That one.
        steps: Every step's own, (B, n), in the order of rising times; None where steps were drawn.
    """

    prior: Tensor
    denoising: Tensor
    reconstruction: Tensor
    steps: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.prior + self.denoising + self.reconstruction


@torch.no_grad()
def bound(
    denoiser: Denoise,
    x: Tensor,
    times: Sequence[float],
    rng: Rng,
    cond: Cond | None = None,
    *,
    variance: Variance = "small",
    decoder: Decoder | None = None,
    draws: int | None = None,
    spread: float | None = None,
    mask: Tensor | None = None,
) -> Bound:
    """The variational bound of the ancestral walk over these times.

    Args:
        denoiser: Answers E[x | x_t], and a variance where that is learned.
        x: Data, (B, ...), on their stored values.
        times: Of the walk, in any order; the more, the tighter.
        rng: One stream a sample.
        cond: Conditions of the denoiser.
        variance: Of the walk's steps.
        decoder: Of the step that ends on the data; 8 bits if not given.
        draws: Estimate the denoising terms by so many steps a sample, drawn evenly spread; all of them if not given.
        spread: Standard deviation of the prior; that of unit data at the last time if not given.
        mask: The places that count.

    Raises:
        ValueError: For fewer than two times, or a learned variance that there is not.

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, eq. 5. arXiv:2006.11239
    """
    steps = chain(denoiser.schedule, times)
    n = len(steps.t)

    def step(k: Tensor, counter: int) -> Tensor:
        at = noised(denoiser, x, steps, k, rng, counter, cond, mask)
        found = denoiser.answer(at.x_t, at.t, cond)
        return masked_mean(terms(steps, k, at, found, variance, decoder or Decoder()), mask)

    def same(k: int) -> Tensor:
        return step(torch.full((len(x),), k), k)

    prior = masked_mean(prior_kl(denoiser.schedule, x, float(steps.t[-1]), spread), mask)
    if draws is None:
        each = torch.stack([same(k) for k in reversed(range(n))], 1).flip(1)
        return Bound(prior, each[:, 1:].sum(1), each[:, 0], each)
    u = rng.uniform((draws,), "steps", dtype=torch.float64).cpu()
    drawn = [1 + ((i + u[:, i]) / draws * (n - 1)).long().clamp(max=n - 2) for i in range(draws)]
    denoising = torch.stack([step(k, n + i) for i, k in enumerate(drawn)]).mean(0) * (n - 1)
    return Bound(prior, denoising, same(0))


def noised(
    denoiser: Denoise, x: Tensor, steps: Chain, k: Tensor, rng: Rng, counter: int, cond: Cond | None, mask: Tensor | None
) -> Noised:
    """x noised to the k-th time of a chain, one k a sample."""
    t = steps.t[k]
    alpha, sigma = (expand(c.to(x.device, x.dtype), x) for c in denoiser.schedule(t))
    eps = denoiser.project(rng.to(x.device).normal(x.shape[1:], "eps", counter, dtype=x.dtype), cond)
    return Noised(x, alpha * x + sigma * eps, t, alpha, sigma, cond or {}, mask)


@torch.no_grad()
def prior_kl(schedule: Schedule, x: Tensor, t: float = 1.0, spread: float | None = None) -> Tensor:
    """KL(q(x_t | x) | N(0, spread^2)) in every place, in nats; `spread` is that of unit data if not given."""
    alpha, sigma = (float(c) for c in schedule(torch.tensor(t, dtype=torch.float64)))
    spread = (alpha**2 + sigma**2) ** 0.5 if spread is None else spread
    log_std, log_spread = (x.new_tensor(value).log() for value in (sigma, spread))
    return normal_kl(alpha * x, log_std, torch.zeros_like(x), log_spread)
