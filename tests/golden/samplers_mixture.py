"""The exact model of the sampler items: isotropic mixtures, as their descriptions write them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unnoise.condition import Conditions
from unnoise.denoiser import Answer, Time, times
from unnoise.sampler import Noise
from unnoise.schedule import EDM, Schedule
from unnoise.tensor import Cond, expand
from unnoise.times import Given

from .harness import Case


def clean(case: Case, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """E[x | x_t] for x_t (B, ...), flattened for the mixture; coefficients (B,)."""
    weights, means, stds = (case.shared(f"mix/{name}") for name in ("w", "mu", "std"))
    rows, alpha, sigma = x.flatten(1)[:, None], alpha[:, None, None], sigma[:, None, None]  # (B, 1, D), (B, 1, 1)
    noisy = (alpha * stds[:, None]) ** 2 + sigma**2  # (B, K, 1)
    apart = rows - alpha * means
    logits = weights.log() - (apart**2).sum(2) / (2 * noisy[..., 0]) - rows.shape[2] / 2 * noisy[..., 0].log()
    parts = means + alpha * stds[:, None] ** 2 / noisy * apart
    return torch.einsum("bk,bkd->bd", logits.softmax(1), parts).reshape(x.shape)


class Exact:
    """That model as a denoiser; it remembers the states it was asked about."""

    evaluations = 1

    def __init__(self, case: Case, schedule: Schedule) -> None:
        self.case, self.schedule = case, schedule
        self.conds: Conditions = {}
        self.asked: list[Tensor] = []

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        alpha, sigma = self.schedule(times(t, len(x_t)))
        self.asked.append(x_t / expand(alpha, x_t))
        return Answer(clean(self.case, x_t, alpha, sigma))

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


def by_step(walk: Sequence[float], noises: Tensor | None) -> Noise:
    """Noises that were drawn at every step, needed or not: the one of the step that begins at t."""
    return lambda like, t, s: noises[list(walk).index(t)]  # type: ignore[index]


def exploding(top: float) -> EDM:
    """alpha = 1 and sigma = top t."""
    return EDM(sigma_min=0.0, sigma_max=top, rho=1.0)


def walk_of(schedule: Schedule, sigmas: Tensor) -> Given:
    """The times of given sigma / alpha, the last of which may be 0, where the walk then ends."""
    t = schedule.time(-2 * sigmas.double().log())
    return Given(tuple(torch.where(sigmas > 0, t, torch.zeros_like(t)).tolist()), final=True)
