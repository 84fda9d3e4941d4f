"""The variational bound of a chain of times, term by term.

A chain visits n rising times; its k-th step leads from t_k to t_{k-1}, and the first, k = 0, to the data. With the network's x0
in the place of x, p(x_s | x_t) = N(c_x x0 + c_t x_t, std^2), and

    -log p(x) <= KL(q(x_1 | x) | prior) + sum_{k > 0} KL(q(x_s | x_t, x) | p(x_s | x_t)) - log p(x | x_{t_0})

whose three kinds of terms are called prior, denoising and reconstruction.

Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, eq. 5. arXiv:2006.11239
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unnoise.denoiser import Answer, Denoiser
from unnoise.loss.base import Batch, Noised, answer, entry, noised
from unnoise.loss.denoising import Denoising
from unnoise.loss.times import Law, Uniform, weighed
from unnoise.schedule import Schedule, Table
from unnoise.tensor import Rng, expand, masked_mean

Variance = Literal["small", "large", "learned"]
STEPS = 1000  # of a chain on a schedule that is no table
FLOOR = 1e-12  # of a probability in the published decoder


class Chain(NamedTuple):
    """The steps of a chain, (n,) each: t, and what leads from there to the time before it."""

    t: Tensor
    c_x: Tensor
    c_t: Tensor
    small: Tensor
    large: Tensor


def chain(schedule: Schedule, times: Sequence[float]) -> Chain:
    """The coefficients of a chain on these times, in any order.

    The first step ends on data, where the posterior has no width. On a table it takes that of the second step, as published code
    does; elsewhere, where steps may be as fine as one likes, that of x given x_t alone, sigma / alpha.

    Raises:
        ValueError: For fewer than two times.
    """
    if len(times) < 2:
        raise ValueError(f"a bound needs a chain of at least two times, given {len(times)}")
    t = torch.tensor(sorted(times), dtype=torch.float64)
    with torch.no_grad():  # a learned schedule has parameters
        c_x, c_t, small = schedule.posterior(t[:-1], t[1:])
        large, (alpha, sigma) = schedule.transition(t[:-1], t[1:])[1], schedule(t[:1])
    one, width = torch.ones(1, dtype=torch.float64), small[:1] if isinstance(schedule, Table) else sigma / alpha
    return Chain(t, torch.cat([one, c_x]), torch.cat([0 * one, c_t]), torch.cat([width, small]), torch.cat([sigma, large]))


@dataclass(frozen=True)
class Decoder:
    """The probability of a stored value: that of its bin under a normal law; the first bin and the last reach to infinity.

        P(x) = cdf((x + half - mean) / std) - cdf((x - half - mean) / std);   half = 1 / (levels - 1) for x in [-1, 1]

    Args:
        levels: How many values there are: 2^bits.
        cdf: "exact", by logarithms, so that no probability is lost; "tanh": the approximation, and the floor of 1e-12, of
            published code.

    Reference: Ho et al. 2020, eq. 13. arXiv:2006.11239
    """

    levels: int = 256
    cdf: Literal["exact", "tanh"] = "exact"

    def __call__(self, x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        """log P(x) in every place, in nats."""
        half, scale = 1 / (self.levels - 1), (-log_std).exp()
        below, above = (x - half - mean) * scale, (x + half - mean) * scale
        first, last = x < half - 1, x > 1 - half
        if self.cdf == "tanh":
            low, high = approximate_cdf(below), approximate_cdf(above)
            inside = high - low
            return torch.where(first, high, torch.where(last, 1 - low, inside)).clamp(min=FLOOR).log()
        # Both ends on the side where the normal law's logarithms are exact: the left one.
        right = below + above > 0
        a, b = torch.where(right, -above, below), torch.where(right, -below, above)
        high = torch.special.log_ndtr(b)
        inside = high + torch.log(-torch.expm1((torch.special.log_ndtr(a) - high).clamp(max=-1e-30)))
        return torch.where(first, torch.special.log_ndtr(above), torch.where(last, torch.special.log_ndtr(-below), inside))


def approximate_cdf(x: Tensor) -> Tensor:
    """The normal law's distribution function, to 2e-4: (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.

    Reference: Page, Approximations to the Cumulative Normal Function and Its Inverse, 1977.
    """
    return (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def normal_kl(mean: Tensor, log_std: Tensor, other: Tensor, other_log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) | N(other, other_std^2)) in every place, in nats."""
    gap = other_log_std - log_std
    return gap + ((-2 * gap).exp() + ((mean - other) * (-other_log_std).exp()) ** 2 - 1) / 2


def terms(steps: Chain, k: Tensor, at: Noised, found: Answer, variance: Variance, decoder: Decoder) -> Tensor:
    """The k-th term of the bound, one k a sample, (B,), in every place of x, in nats.

    Raises:
        ValueError: If the network learned no variance and "learned" is asked for.
    """
    k = k.to(steps.t.device)
    c_x, c_t = (_over(part[k], at.x) for part in (steps.c_x, steps.c_t))
    small, large = (_over(part[k].log(), at.x) for part in (steps.small, steps.large))
    if variance == "learned":
        if found.variance is None:
            raise ValueError("variance 'learned' needs a network that learns one")
        log_std = torch.lerp(small.expand_as(at.x), large.expand_as(at.x), (found.variance + 1) / 2)
    else:
        first = expand(k.to(at.x.device) == 0, at.x)
        log_std = small if variance == "small" else torch.where(first, small, large)
    log_std = log_std.expand_as(at.x)
    found_mean, mean = (c_x * x + c_t * at.x_t for x in (found.x0, at.x))
    values = normal_kl(mean, small, found_mean, log_std)
    rows = (k == 0).nonzero()[:, 0].to(at.x.device)
    if len(rows):
        values = values.index_copy(0, rows, -decoder(at.x[rows], found_mean[rows], log_std[rows]))
    return values


@dataclass(frozen=True)
class Variational:
    """The bound itself, by one random step of the chain a sample: n times the step's term, in bits a dimension.

    Its mean over t is the bound less its prior term, which nothing can be learnt about. `Importance` times calm it.

    Args:
        times: The law of t.
        variance: Of p(x_s | x_t); "learned" by the network.
        decoder: Of the first step.
        steps: Of a chain that is evenly spread over a schedule without a table.

    Reference: Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, eq. 4-7. arXiv:2102.09672
    """

    times: Law = field(default_factory=Uniform)
    variance: Variance = "small"
    decoder: Decoder = Decoder()
    steps: int = STEPS

    def __call__(self, model: Denoiser, batch: Batch, rng: Rng) -> Tensor:
        t = self.times(model.schedule, rng)
        return weighed(self.times, model.schedule, t, self.at(model, batch, t, rng))

    def at(self, model: Denoiser, batch: Batch, t: Tensor, rng: Rng) -> Tensor:
        """The losses at given times, each taken to the nearest of the chain, (B,)."""
        steps = whole(model.schedule, self.steps)
        k = entry(steps.t, t)
        at = noised(model, batch, steps.t[k], rng)
        values = terms(steps, k, at, answer(model, at), self.variance, self.decoder)
        return masked_mean(values, at.mask) * (len(steps.t) / math.log(2))


@dataclass(frozen=True)
class Hybrid:
    """The simple loss for the mean, and a small share of the bound for the learned variance alone, by one evaluation.

        loss = simple + share n KL;   in KL, in bits a dimension, x0 is taken as it is (detached)

    Args:
        simple: The loss of the mean; its own law of times is not used.
        times: The law of t.
        share: Of the bound.
        decoder, steps: As of `Variational`.

    Reference: Nichol & Dhariwal 2021, eq. 16 and section 3.1. arXiv:2102.09672
    """

    simple: Denoising = field(default_factory=Denoising)
    times: Law = field(default_factory=Uniform)
    share: float = 0.001
    decoder: Decoder = Decoder()
    steps: int = STEPS

    def __post_init__(self) -> None:
        if self.simple.pairing:
            raise ValueError("simple.pairing: the bound is of noise that is drawn without regard to x; expected none")

    def __call__(self, model: Denoiser, batch: Batch, rng: Rng) -> Tensor:
        t = self.times(model.schedule, rng)
        return weighed(self.times, model.schedule, t, self.at(model, batch, t, rng))

    def at(self, model: Denoiser, batch: Batch, t: Tensor, rng: Rng) -> Tensor:
        """The losses at given times, each taken to the nearest of the chain, (B,)."""
        simple, bound = self.parts(model, batch, t, rng)
        return simple + self.share * bound

    def parts(self, model: Denoiser, batch: Batch, t: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """The simple loss, and n times the bound's term, (B,) each."""
        steps = whole(model.schedule, self.steps)
        k = entry(steps.t, t)
        at = noised(model, batch, steps.t[k], rng, self.simple.offset)
        found = answer(model, at)
        values = terms(steps, k, at, found._replace(x0=found.x0.detach()), "learned", self.decoder)
        simple = masked_mean(self.simple.errors(model, at, found.x0), at.mask)
        return simple, masked_mean(values, at.mask) * (len(steps.t) / math.log(2))


@lru_cache(8)
def _fixed(schedule: Schedule, steps: int) -> Chain:
    if isinstance(schedule, Table):
        return chain(schedule, schedule.times.tolist())
    return chain(schedule, torch.linspace(schedule.t_min, 1, steps, dtype=torch.float64).tolist())


def whole(schedule: Schedule, steps: int = STEPS) -> Chain:
    """The chain of all entries of a table, or of so many even steps of another schedule."""
    return (_fixed.__wrapped__ if isinstance(schedule, torch.nn.Module) else _fixed)(schedule, steps)


def _over(c: Tensor, x: Tensor) -> Tensor:
    return expand(c.to(x.device, x.dtype, non_blocking=True), x)
