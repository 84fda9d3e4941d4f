"""What every objective shares: data noised to given times, and the network's view of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from unnoise.denoiser import Answer, Denoiser, Recogniser, SelfConditioned
from unnoise.loss.pairing import Paired
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, Rng, expand

Batch = Mapping[str, Tensor]
Weight = Callable[[Tensor, Tensor, Tensor], Tensor]


class Objective(Protocol):
    """Losses of a batch, (B,). What it holds of `nn.Module`s is trained, moved and saved with the model, but not averaged."""

    def __call__(self, model: Denoiser, batch: Batch, rng: Rng) -> Tensor: ...

    def at(self, model: Denoiser, batch: Batch, t: Tensor, rng: Rng) -> Tensor:
        """The losses at given times, (B,), as they are reported: without the weight of a law, and nothing is learnt of them."""
        ...


class Noised(NamedTuple):
    """Data x and what became of them at the times t, (B,); alpha and sigma broadcast over x."""

    x: Tensor
    x_t: Tensor
    t: Tensor
    alpha: Tensor
    sigma: Tensor
    cond: Cond
    mask: Tensor | None


def noised(
    model: Denoiser | Recogniser, batch: Batch, t: Tensor, rng: Rng, offset: float = 0.0, pairing: Paired | None = None
) -> Noised:
    """x_t = alpha x + sigma eps, where `batch` holds x, its conditions, and maybe a mask of the places that count.

    Args:
        offset: Of a draw that all places of a channel share, which is added to eps.
        pairing: Which row's noise goes with which row's x; each with its own if None.

    Reference: offset noise: Guttenberg, Diffusion with Offset Noise, 2023 (crosslabs.org).
    """
    x, source = batch["x"], rng.to(batch["x"].device)
    cond = {name: batch[name] for name in model.conds if name in batch}
    eps = source.normal(x.shape[1:], "eps", dtype=x.dtype)
    if offset:
        eps = eps + offset * source.normal((*x.shape[1:2], *(1 for _ in x.shape[2:])), "offset", dtype=x.dtype)
    eps = model.project(pairing(x, eps, batch) if pairing else eps, cond)
    alpha, sigma = (expand(c.detach().to(x.device, x.dtype, non_blocking=True), x) for c in model.schedule(t))
    x_t = alpha * x + sigma * eps
    if isinstance(model, SelfConditioned):
        cond = model.recalled(x_t.detach(), t.detach(), cond, source)
    return Noised(x, x_t, t, alpha, sigma, cond, batch.get("mask"))


def noise(model: Denoiser, batch: Batch, rng: Rng) -> tuple[Tensor, Cond]:
    """What walks start from at t = 1, of x's shape, and the conditions of a batch: for models that answer there alone."""
    x, one = batch["x"], torch.ones(1, dtype=torch.float64)
    cond = {name: batch[name] for name in model.conds if name in batch}
    alpha, sigma = model.schedule(one)
    drawn = rng.to(x.device).normal(x.shape[1:], "eps", dtype=x.dtype)
    return model.project(drawn * float((alpha**2 + sigma**2).sqrt()), cond), cond


def answer(model: Denoiser, at: Noised) -> Answer:
    """The model's answer. A schedule that is trained is left alone by it: its curve would flee from what is hard."""
    with frozen(model.schedule):
        return model.answer(at.x_t, at.t, at.cond)


@contextmanager
def frozen(part: Schedule | nn.Module) -> Iterator[None]:
    """The parameters of a schedule or network, where it has any, as constants: a gradient goes through it and not to them."""
    trained = [p for p in part.parameters() if p.requires_grad] if isinstance(part, nn.Module) else []
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def log_snr_rate(schedule: Schedule, t: Tensor) -> Tensor:
    """- d log_snr / dt, (B,): how fast the logarithm of the signal-to-noise ratio falls."""
    (alpha, sigma), (d_alpha, d_sigma) = schedule(t), schedule.rates(t)
    return (2 * (d_sigma / sigma - d_alpha / alpha)).detach()


def entry(times: Tensor, t: Tensor) -> Tensor:
    """The index of the nearest of rising `times`, (n,), for each t, (B,)."""
    middles = (times[1:] + times[:-1]) / 2
    return torch.searchsorted(middles, t.to(times))
