"""Linear walks: every deterministic sampler of one evaluation a step as times and weights, and what becomes of noise on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unnoise.denoiser import Answer, Denoise
from unnoise.sampler import DEIS, DPMpp2M, DPMpp3M, FlowAdams, Sampler, UniPC
from unnoise.schedule import Schedule
from unnoise.tensor import Cond
from unnoise.times import Auto, FittedWalk, Karras, LogSNR, Times, Uniform

SAMPLERS: tuple[Sampler, ...] = (FlowAdams(), FlowAdams(2), DPMpp2M(), DPMpp3M(), DEIS(), UniPC(3), UniPC(2))
WIDE = Auto(high=3.0, fall=2.0), Auto(low=-3.0, high=4.0, fall=2.0)
SPACINGS: tuple[Times, ...] = (Auto(), *WIDE, LogSNR(), Karras(), Uniform())
ENDS = "closed", "open"
LARGE = 3 * 32 * 32  # values a sample, from which on evaluations are made again for the gradient rather than kept
GAP = 1e-3  # in lam, from the last evaluation to t_min, at least


@dataclass(frozen=True)
class Plan:
    """A linear walk: `t` (n,), and `weights` (n, n), row k those of the k-th step, newest first; both float64 on the CPU."""

    t: Tensor
    weights: Tensor
    name: str = "fitted"

    def walk(self, schedule: Schedule) -> FittedWalk:
        rows = [row[: k + 1].tolist() for k, row in enumerate(self.weights)]
        rows = [row[: max((j + 1 for j, w in enumerate(row) if w), default=1)] for row in rows]
        return FittedWalk((*self.t.tolist(), schedule.t_min), True, tuple(tuple(row) for row in rows))


@dataclass(frozen=True)
class Sample:
    """Noises (N, ...), the conditions that go with them, and where the fine solve takes them."""

    noise: Tensor
    cond: Mapping[str, Tensor]
    end: Tensor

    def __getitem__(self, rows: Tensor) -> Sample:
        return Sample(self.noise[rows], {name: value[rows] for name, value in self.cond.items()}, self.end[rows])


Mend = Callable[[int, Tensor, list[Tensor], Tensor], Tensor]  # (k, y, past, row) -> row, the weights of the k-th step


def end(
    denoiser: Denoise,
    noise: Tensor,
    t: Tensor,
    weights: Sequence[Tensor] | Tensor,
    cond: Cond | None = None,
    mend: Mend | None = None,
) -> Tensor:
    """Where a linear walk ends, as a function that can be differentiated by its times and weights; `mend` may change a step's."""
    alpha, sigma = denoiser.schedule(t)
    total = alpha + sigma
    y = noise * ((alpha[0] ** 2 + sigma[0] ** 2).sqrt() / total[0]).to(noise)
    past: list[Tensor] = []
    again = torch.is_grad_enabled() and noise[0].numel() >= LARGE
    for k, row in enumerate(weights):
        x_t = y * total[k].to(noise)
        x0 = checkpoint(denoiser, x_t, t[k], cond, use_reentrant=False) if again else denoiser(x_t, t[k], cond)
        past.insert(0, (x_t - x0 * total[k].to(noise)) / sigma[k].to(noise))
        row = mend(k, y, past, row) if mend else row
        for w, v in zip(row.to(noise), past, strict=False):
            y = y + w * v
    return y


def shares(schedule: Schedule, t: Tensor) -> Tensor:
    """u of each time, and 0 where a walk ends, (n + 1,)."""
    alpha, sigma = schedule(t)
    return torch.cat([sigma / (alpha + sigma), t.new_zeros(1)])


def distance(x: Tensor, other: Tensor) -> Tensor:
    """Root mean squared distance of each sample, (B,)."""
    return (x - other).flatten(1).square().mean(1).clamp(min=1e-20).sqrt()


class Basis:
    """A denoiser that answers with unit vectors, so that a walk shows the weights it is made of."""

    evaluations = 1

    def __init__(self, schedule: Schedule, n: int) -> None:
        self.schedule, self.conds, self.states = schedule, dict[str, Any](), list[Tensor]()
        self.vectors = torch.eye(n + 1, dtype=torch.float64)

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: Any, cond: Cond | None = None) -> Answer:
        self.states.append(x_t.clone()[0])
        return Answer(self.vectors[len(self.states)][None].clone())

    def __call__(self, x_t: Tensor, t: Any, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


def linear(sampler: Sampler, schedule: Schedule, times: Sequence[float], name: str = "") -> Plan:
    """A deterministic sampler of one evaluation a step as a linear walk."""
    n = len(times)
    basis = Basis(schedule, n)
    last = sampler(basis, basis.vectors[:1].clone(), times)[0]  # type: ignore[arg-type]
    t = torch.tensor(list(times), dtype=torch.float64)
    alpha, sigma = (c[:, None] for c in schedule(t))
    x, x0 = torch.stack(basis.states), basis.vectors[1:]
    y, v = x / (alpha + sigma), (x - (alpha + sigma) * x0) / sigma
    change = torch.cat([y[1:], last[None]]) - y
    weights = torch.zeros(n, n, dtype=torch.float64)
    for k in range(n):  # v_j is the first that knows of answer j, and has it in column j + 1
        for j in range(k, -1, -1):
            w = change[k, j + 1] / v[j, j + 1]
            change[k] -= w * v[j]
            weights[k, k - j] = w
    return Plan(t, weights, name)


def grid(schedule: Schedule, n: int) -> Iterator[Plan]:
    """Every sampler on every spacing, closed and open.

    Closed times have their last evaluation off t_min by next to nothing, where the walk ends; open ones leave that away and have
    the others closer together.
    """
    last = float(schedule.time(schedule.log_snr(torch.tensor([schedule.t_min], dtype=torch.float64)) - 2 * GAP))
    for sampler, spacing, kind in itertools.product(SAMPLERS, SPACINGS, ENDS if n > 1 else ENDS[:1]):
        closed = [*spacing(schedule, n)[:-1], last] if n > 1 else [1.0]
        times = list(spacing(schedule, n + 1)[:-1]) if kind == "open" else closed
        if all(a > b for a, b in itertools.pairwise(times)):
            yield linear(sampler, schedule, times, f"{sampler} on {kind} {spacing}")


@torch.no_grad()
def errors(denoiser: Denoise, data: Sample, plan: Plan, batch: int = 64) -> Tensor:
    """The distance of each of a walk's ends from that of the fine solve, as a share of these ends' deviation, (N,)."""
    far = [
        distance(end(denoiser, part.noise, plan.t, plan.weights, part.cond), part.end)
        for part in (data[rows] for rows in torch.arange(len(data.noise)).split(batch))
    ]
    return torch.cat(far) / data.end.std()
