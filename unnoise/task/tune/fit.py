"""Finding a linear walk: Adam down the end error, and what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unnoise.denoiser import Denoise
from unnoise.sampler import FlowAdams
from unnoise.schedule import Schedule
from unnoise.task.tune.course import Course, regressed
from unnoise.task.tune.linear import ENDS, SAMPLERS, SPACINGS, Plan, Sample, distance, end, errors, grid, shares
from unnoise.tensor import Rng
from unnoise.times import Auto, FittedWalk

LAM_MIN = -10.0  # before it there is no signal to speak of
SHARE_MIN = 1e-4  # of the range of lam, between two times
FINALISTS = 5  # of the grid, that are led on
USUAL = f"{FlowAdams()} on closed {Auto()}"  # what a run samples by that was not tuned, which always is among them
SURE = 2.0  # standard errors by which a fitted walk is nearer than an untuned one, if it is to be kept


@dataclass(frozen=True)
class Search:
    """How much is spent on a walk.

    Args:
        noises, held_out: Walks that are fitted to, and walks that judge.
        batch: Of them, in one step of Adam.
        steps: Of Adam, in a bold fit; half as many follow in a gentle one.
        fine: Evaluations of the solve that a walk is measured by.
        memory: How many velocities a fitted step looks back on, itself included.
        rate: Of Adam, on the logarithms of the steps in lam, times the number of steps; on the weights a fifth of it.
        seed: Of the noises.
    """

    noises: int = 256
    held_out: int = 128
    batch: int = 64
    steps: int = 100
    fine: int = 256
    memory: int = 4
    rate: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("noises", "held_out", "batch", "steps", "fine", "memory"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")

    def cost(self, budgets: Sequence[int]) -> float:
        """About how many samples the network answers for walks of these numbers of steps; with a gradient one counts three."""
        grid = len(SAMPLERS) * len(SPACINGS) * len(ENDS)
        tried = (grid / 6 + FINALISTS) * self.noises + (2 * FINALISTS + 7) * self.held_out
        return (self.noises + self.held_out) * self.fine + sum(budgets) * (tried + 3 * 1.5 * self.batch * self.steps)

    def within(self, cost: float, budgets: Sequence[int]) -> Search:
        """The same, or a smaller one of about this cost; not below what a fit needs."""
        share = min(1.0, (cost / self.cost(budgets)) ** 0.5)
        least = {"noises": 48, "held_out": 24, "batch": 8, "steps": 30}
        sizes = {name: max(round(getattr(self, name) * share), min(low, getattr(self, name))) for name, low in least.items()}
        return self if share == 1 else replace(self, **sizes)


@dataclass(frozen=True)
class Tuned:
    """What was found for one number of evaluations; errors are those of held-out noises, as shares of the data's deviation.

    Attributes:
        walk: To be followed by `sampler.Fitted`.
        error: Of it.
        untuned: Of the best of the grid, `best`.
        source: Which of those met it is.
    """

    walk: FittedWalk
    error: float
    untuned: float
    best: str
    source: str


class Knots(torch.nn.Module):
    """Falling times, and weights on them, as parameters without constraints.

    The range of lam is shared out among n + 1 stretches: from t = 1 to the first time, between times, and to t_min.
    """

    def __init__(self, schedule: Schedule, plan: Plan, memory: int) -> None:
        super().__init__()
        ends = schedule.log_snr(torch.tensor([1.0, schedule.t_min], dtype=torch.float64)) / 2
        self.schedule, (self.first, self.last) = schedule, ends.clamp(min=LAM_MIN).tolist()
        lam = (schedule.log_snr(plan.t) / 2).clamp(min=self.first)
        stretches = torch.diff(torch.cat([lam.new_tensor([self.first]), lam, lam.new_tensor([self.last])])) / (
            self.last - self.first
        )
        self.logits = torch.nn.Parameter(stretches.clamp(min=SHARE_MIN).log())
        n = len(plan.t)
        used = torch.arange(n) <= torch.arange(n)[:, None]
        self.free = used & (torch.arange(n) < memory)
        self.change = torch.nn.Parameter(torch.zeros(n, n, dtype=torch.float64))
        self.offset = plan.weights - self._adams(shares(schedule, plan.t))

    def forward(self) -> tuple[Tensor, Tensor]:
        """t (n,) and weights (n, n)."""
        t = self._times()
        u = shares(self.schedule, t)
        return t, self._adams(u) + self.offset + self.change * self.free * torch.diff(u)[:, None]

    def _times(self) -> Tensor:
        shares = self.logits.softmax(0) * (1 - SHARE_MIN * len(self.logits)) + SHARE_MIN
        lam = self.first + (self.last - self.first) * shares.cumsum(0)[:-1]
        with torch.no_grad():
            t = self.schedule.time(2 * lam)
        with torch.enable_grad():
            at = t.clone().requires_grad_()
            here = self.schedule.log_snr(at) / 2
            (slope,) = torch.autograd.grad(here.sum(), at)
        return t + (lam - lam.detach()) / slope  # the inverse function's derivative

    @staticmethod
    def _adams(u: Tensor, order: int = 3) -> Tensor:
        """Weights (n, n) as those of `FlowAdams`, to be differentiated."""
        rows = []
        for k in range(len(u) - 1):
            places, step = u[max(0, k + 1 - order) : k + 1].flip(0), u[k + 1] - u[k]
            powers = torch.arange(len(places))
            row = torch.linalg.solve(((places - u[k]) / step) ** powers[:, None], 1 / (powers + 1.0).to(u)) * step
            rows.append(torch.nn.functional.pad(row, (0, len(u) - 1 - len(row))))
        return torch.stack(rows)


def fit(denoiser: Denoise, data: Sample, plan: Plan, search: Search, tail: bool = True) -> Iterator[Plan]:
    """Plans on the way of Adam down the end error: when times alone are fitted, and while times and weights are.

    A walk that ends in another mode has little to say of the way to this one: distances count as far * bound / (far + bound),
    with four times their mean for the bound, or without the `tail` their median.
    """
    knots = Knots(denoiser.schedule, plan, search.memory)
    rate = search.rate / len(plan.t)
    groups = [{"params": [knots.logits], "lr": rate}, {"params": [knots.change], "lr": rate / 5}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: (1 + math.cos(math.pi * i / search.steps)) / 2 + 0.01)
    alone = search.steps // 4
    for step in range(search.steps):
        order = Rng(search.seed).at(step).uniform((len(data.noise),), "tune")[0].argsort()
        part = data[order[: search.batch]]
        knots.change.requires_grad_(step >= alone)
        optimizer.zero_grad()
        t, weights = knots()
        far = distance(end(denoiser, part.noise, t, weights, part.cond), part.end)
        bound = 4 * (far.detach().mean() if tail else far.detach().median())
        loss = (far * bound / (far + bound)).mean()
        loss.backward()
        if all(p.grad is None or bool(p.grad.isfinite().all()) for p in knots.parameters()):
            optimizer.step()
        schedule.step()
        if step + 1 in (alone, search.steps * 2 // 3, search.steps):
            with torch.no_grad():
                t, weights = knots()
            yield Plan(t, weights, "fitted times" if step + 1 == alone else "fitted")


def best(denoiser: Denoise, n: int, data: Course, judge: Sample, search: Search) -> Tuned:
    """The best walk of n evaluations that is found: on the grid, or from there by least squares and by gradient.

    What was fitted is kept where it is surely nearer on held-out noises than the best of the grid.

    Args:
        denoiser: Guided or not.
        n: Evaluations, those of a guided answer counted as one.
        data: Noises to fit to, with the course of their fine solve.
        judge: Held-out noises that choose.
        search: How much is spent.
    """

    def ranked(plans: Iterable[Plan], sample: Sample) -> list[tuple[Tensor, Plan]]:
        found = [(errors(denoiser, sample, plan), plan) for plan in plans]
        return sorted((entry for entry in found if entry[0].isfinite().all()), key=lambda entry: float(entry[0].mean()))

    def few(share: int) -> Sample:
        return data[torch.arange(-(-len(data.noise) // share))]

    every = list(grid(denoiser.schedule, n))
    better = [plan for _, plan in ranked(every, few(12))][: len(every) // 4 + FINALISTS]
    better = [plan for _, plan in ranked(better, few(4))]
    usual = (plan for plan in every if plan.name == USUAL)
    (untuned, grown), *_ = ranked([*better[:FINALISTS], *usual], judge)
    spaced: dict[tuple[float, ...], Plan] = {}
    for plan in better:  # on each of the times the best alone, since its weights will be others
        spaced.setdefault(tuple(plan.t.tolist()), plan)
    starts = list(spaced.values())[:FINALISTS]
    met = ranked((regressed(denoiser, data, plan, search.memory) for plan in starts), judge)
    gentle = replace(search, rate=search.rate / 4, steps=-(-search.steps // 2))
    for tail, pace in ((True, search), (False, gentle)):
        start = met[0][1] if met else grown
        met = sorted([*met, *ranked(fit(denoiser, data, start, pace, tail), judge)], key=lambda entry: float(entry[0].mean()))
    reached, plan = met[0] if met and _nearer(met[0][0], untuned) else (untuned, grown)
    return Tuned(plan.walk(denoiser.schedule), float(reached.mean()), float(untuned.mean()), grown.name, plan.name)


def _nearer(far: Tensor, other: Tensor) -> bool:
    """Whether distances are less in the mean, and surely less where no single one decides: each bounded as in `fit`."""
    bound = 4 * other.median()
    gain = other * bound / (other + bound) - far * bound / (far + bound)
    return bool(far.mean() < other.mean() and gain.mean() > SURE * gain.std() / len(gain) ** 0.5)
