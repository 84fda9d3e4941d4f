"""Which times are trained: laws of t. A law gives times (B,), in float64 on the CPU, from the schedule and keyed randomness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unnoise.loss.base import entry
from unnoise.loss.listening import Listening
from unnoise.schedule import Schedule
from unnoise.tensor import Rng

GOLDEN = 0.6180339887498949  # its multiples, mod 1, are spread more evenly than any other number's


class Law(Protocol):
    """Training times, (B,) in float64, on the CPU."""

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor: ...


@dataclass(frozen=True)
class Uniform:
    """t uniform over [t_min, 1], or over the entries of a table.

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, algorithm 1. arXiv:2006.11239
    """

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor:
        return schedule.uniform(rng.host.uniform((), "t", dtype=torch.float64))


@dataclass(frozen=True)
class Stratified:
    """The same law with its draws spread evenly over each batch, so that the loss of a step varies less.

        t = uniform((u + i golden) mod 1)

    with one u a batch and i the sample's position in it.

    Reference: Kingma et al., Variational Diffusion Models, 2021, appendix I.1 (there with i / B in place of i golden).
    arXiv:2107.00630
    """

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor:
        rng = rng.host
        shared = Rng(rng.key[0][:1] | (rng.key[1][:1] << 32)).uniform((), "t", dtype=torch.float64)
        return schedule.uniform((shared + rng.index * GOLDEN) % 1)


@dataclass(frozen=True)
class LogNormal:
    """log(sigma / alpha) normal with this mean and standard deviation, cut to the schedule's times.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 1. arXiv:2206.00364
    """

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor:
        log_ratio = self.mean + self.std * rng.host.normal((), "t", dtype=torch.float64)
        return schedule.time(-2 * log_ratio).clamp(min=schedule.t_min)


@dataclass(frozen=True)
class LogitNormal:
    """The quantile of t is the sigmoid of a normal draw: more of the middle, less of the ends.

    Reference: Esser et al., Scaling Rectified Flow Transformers for High-Resolution Image Synthesis, 2024, eq. 19.
    arXiv:2403.03206
    """

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, schedule: Schedule, rng: Rng) -> Tensor:
        return schedule.uniform((self.mean + self.std * rng.host.normal((), "t", dtype=torch.float64)).sigmoid())


class Importance(Listening):
    """Times drawn as often as their losses are large, and their losses divided by that: the same mean, with less variance.

        p_i ~ sqrt(mean of the last losses^2 in part i), a share `uniform` of it even;   loss <- loss / (parts p_i)

    Until every part has its history, p is even. The history lies in the checkpoint: a resumed run draws as if it
    had never stopped.

    Args:
        parts: Equal parts of the schedule's uniform law; for a table, as many as it has entries.
        history: Losses kept of each part.
        uniform: The share of even draws.

    Reference: Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, section 3.3, eq. 18. arXiv:2102.09672
    """

    losses: Tensor
    counts: Tensor

    def __init__(self, parts: int = 1000, history: int = 10, uniform: float = 0.001) -> None:
        super().__init__()
        if parts < 1 or history < 1 or not 0 < uniform <= 1:
            raise ValueError(
                f"Importance({parts}, {history}, {uniform}): at least one part and one loss, and some even draws needed"
            )
        self.parts, self.history, self.uniform = parts, history, uniform
        self.register_buffer("losses", torch.zeros(parts, history, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(parts, dtype=torch.int64))

    def forward(self, schedule: Schedule, rng: Rng) -> Tensor:
        u = rng.host.uniform((2,), "t", dtype=torch.float64)
        below = self.probabilities().cumsum(0)
        part = torch.searchsorted(below, u[:, 0] * below[-1]).clamp(max=self.parts - 1)
        return schedule.uniform((part + u[:, 1]) / self.parts)

    def probabilities(self) -> Tensor:
        """p, (parts,), on the CPU."""
        losses, full = self.losses.cpu(), bool((self.counts == self.history).all())
        p = losses.square().mean(1).sqrt() if full else torch.ones(self.parts, dtype=torch.float64)
        return p / p.sum() * (1 - self.uniform) + self.uniform / self.parts if full else p / p.sum()

    def weigh(self, schedule: Schedule, t: Tensor, losses: Tensor) -> Tensor:
        """The losses at t over parts p, (B,); the losses themselves are remembered."""
        middles = (torch.arange(self.parts, dtype=torch.float64) + 0.5) / self.parts
        part = entry(schedule.uniform(middles), t.cpu())
        share = 1 / (self.parts * self.probabilities()[part])
        if self.training:
            self.said(part, losses)
        return losses * share.to(losses)

    def hear(self, *rows: Tensor) -> None:
        """Takes in losses of parts, (B,) each, one after another; of a part that is full the oldest goes."""
        part, losses = rows
        table, counts = self.losses.cpu(), self.counts.cpu()
        for i, loss in zip(part.tolist(), losses.tolist(), strict=True):
            if counts[i] == self.history:
                table[i] = table[i].roll(-1)
            else:
                counts[i] += 1
            table[i, counts[i] - 1] = loss
        self.losses.copy_(table)
        self.counts.copy_(counts)


def weighed(law: Law, schedule: Schedule, t: Tensor, losses: Tensor) -> Tensor:
    """Losses whose mean under the law is that under its even version; most laws leave them as they are."""
    return law.weigh(schedule, t, losses) if isinstance(law, Importance) else losses
