"""Fitting a walk to a model: the times and weights that bring few evaluations closest to the model's own fine solve.

Every deterministic sampler of one evaluation a step is a linear walk: with y, u and v as in `FlowAdams`,

    y_(k+1) = y_k + sum_j w_kj v_(k-j)

so that its weights can be read off by walking it along unit vectors. The best of a grid of samplers and spacings is found first.
Then Adam follows the gradient of the end error through the walk: for the times, whose change moves the weights as it moves
those of `FlowAdams`, and then for times and weights together. Of all that was met, what is best on other noises than it was fitted to is
kept, so that a tuned walk is not worse than the best untuned one.

Reference: Frankel et al., S4S: Solving for a Fast Diffusion Model Solver, 2025, arXiv:2502.17423; Tong et al., Learning to Discretize
Denoising Diffusion ODEs, 2025, arXiv:2405.15506 (times alone)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.condition import Conditions
from unnoise.denoiser import Answer, Denoise
from unnoise.model import Model, load
from unnoise.recipe import Recipe
from unnoise.sampler import DEIS, DPMpp2M, DPMpp3M, FlowAdams, Sampler, UniPC
from unnoise.schedule import Schedule
from unnoise.task import machine
from unnoise.tensor import Cond, Rng
from unnoise.times import Auto, FittedWalk, Karras, LogSNR, Times, Uniform

SAMPLERS: tuple[Sampler, ...] = (FlowAdams(), FlowAdams(2), DPMpp2M(), DPMpp3M(), DEIS(), UniPC(3, lower=False), UniPC(2))
SPACINGS: tuple[Times, ...] = (Auto(), Auto(high=3.0, fall=2.0), Auto(low=-3.0, high=4.0, fall=2.0), LogSNR(), Karras(), Uniform())
LAM_MIN = -10.0  # before it there is no signal to speak of
GAP = 1e-3  # in lam, from the last evaluation to t_min, at least
SHARE_MIN = 1e-4  # of the range of lam, between two times


@dataclass(frozen=True)
class Search:
    """How much is spent on a walk.

    Args:
        noises, held_out: Walks that are fitted to, and walks that judge.
        batch: Of them, in one step of Adam.
        steps: Of Adam, in all.
        fine: Evaluations of the solve that a walk is measured by.
        memory: How many velocities a fitted step looks back on, itself included.
        rate: Of Adam, on the logarithms of the steps in lam; a fifth of it on the weights.
        seed: Of the noises.
    """

    noises: int = 192
    held_out: int = 128
    batch: int = 64
    steps: int = 240
    fine: int = 128
    memory: int = 4
    rate: float = 0.05
    seed: int = 0


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


def end(denoiser: Denoise, noise: Tensor, t: Tensor, weights: Sequence[Tensor] | Tensor, cond: Cond | None = None) -> Tensor:
    """Where a linear walk ends, as a function that can be differentiated by its times and weights."""
    alpha, sigma = denoiser.schedule(t)
    total = alpha + sigma
    y = noise * ((alpha[0] ** 2 + sigma[0] ** 2).sqrt() / total[0]).to(noise)
    past: list[Tensor] = []
    for k, row in enumerate(weights):
        x_t = y * total[k].to(noise)
        x0 = denoiser(x_t, t[k], cond)
        past.insert(0, (x_t - x0 * total[k].to(noise)) / sigma[k].to(noise))
        for w, v in zip(row.to(noise), past, strict=False):
            y = y + w * v
    return y


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
    """Every sampler on every spacing; the last evaluation is moved off t_min by next to nothing, where the walk's end is noted."""
    last = schedule.time(schedule.log_snr(torch.tensor([schedule.t_min], dtype=torch.float64)) - 2 * GAP)
    for sampler, spacing in itertools.product(SAMPLERS, SPACINGS):
        times = [*spacing(schedule, n)[:-1], float(last)] if n > 1 else [1.0]
        if all(a > b for a, b in itertools.pairwise(times)):
            yield linear(sampler, schedule, times, f"{sampler} on {spacing}")


class Knots(torch.nn.Module):
    """Falling times, and weights on them, as parameters without constraints.

    The range of lam is shared out among n + 1 stretches: from t = 1 to the first time, between times, and to t_min.
    """

    def __init__(self, schedule: Schedule, plan: Plan, memory: int) -> None:
        super().__init__()
        ends = schedule.log_snr(torch.tensor([1.0, schedule.t_min], dtype=torch.float64)) / 2
        self.schedule, (self.first, self.last) = schedule, ends.clamp(min=LAM_MIN).tolist()
        lam = (schedule.log_snr(plan.t) / 2).clamp(min=self.first)
        stretches = torch.diff(torch.cat([lam.new_tensor([self.first]), lam, lam.new_tensor([self.last])])) / (self.last - self.first)
        self.logits = torch.nn.Parameter(stretches.clamp(min=SHARE_MIN).log())
        n = len(plan.t)
        used = torch.arange(n) <= torch.arange(n)[:, None]
        self.free = used & (torch.arange(n) < memory)
        self.change = torch.nn.Parameter(torch.zeros(n, n, dtype=torch.float64))
        with torch.no_grad():
            self.offset = torch.zeros(n, n, dtype=torch.float64)
            self.offset = plan.weights - self()[1]

    def forward(self) -> tuple[Tensor, Tensor]:
        """t (n,) and weights (n, n)."""
        t = self._times()
        alpha, sigma = self.schedule(t)
        u = torch.cat([sigma / (alpha + sigma), t.new_zeros(1)])
        rows = [self._adams(u, k) for k in range(len(t))]
        weights = torch.stack([torch.nn.functional.pad(row, (0, len(t) - len(row))) for row in rows])
        return t, weights + self.offset + self.change * self.free * torch.diff(u)[:, None]

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
    def _adams(u: Tensor, k: int, order: int = 3) -> Tensor:
        """As `sampler.flow.adams`, to be differentiated."""
        places, step = u[max(0, k + 1 - order) : k + 1].flip(0), u[k + 1] - u[k]
        nodes = (places - u[k]) / step
        powers = torch.arange(len(nodes))
        return torch.linalg.solve(nodes[None] ** powers[:, None], 1 / (powers + 1.0).to(u)) * step


def fit(denoiser: Denoise, data: Sample, plan: Plan, search: Search) -> Iterator[Plan]:
    """Plans on the way of Adam down the end error: when times alone are fitted, and while times and weights are."""
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
        far = distance(end(denoiser, part.noise, *knots(), part.cond), part.end)
        bound = 4 * far.detach().mean()  # a walk that ends in another mode has nothing to say of the way to this one
        loss = (far * bound / (far + bound)).mean()
        loss.backward()
        if all(p.grad is None or bool(p.grad.isfinite().all()) for p in knots.parameters()):
            torch.nn.utils.clip_grad_norm_(knots.parameters(), float(10 * loss.detach()) + 1e-12)
            optimizer.step()
        schedule.step()
        if step + 1 in (alone, search.steps * 2 // 3, search.steps):
            with torch.no_grad():
                t, weights = knots()
            yield Plan(t, weights, "fitted times" if step + 1 == alone else "fitted")


def best(denoiser: Denoise, n: int, data: Sample, judge: Sample, search: Search) -> Tuned:
    """The best walk of n evaluations that is found: on the grid, or from there on by gradient.

    Args:
        denoiser: Guided or not.
        n: Evaluations, those of a guided answer counted as one.
        data: Noises to fit to.
        judge: Held-out noises that choose.
        search: How much is spent.
    """
    few = data[torch.arange(len(data.noise) // 3)]
    found = [(error(denoiser, few, plan), i, plan) for i, plan in enumerate(grid(denoiser.schedule, n))]
    found = sorted(entry for entry in found if math.isfinite(entry[0]))
    first = [plan for _, _, plan in found[:4]]
    flow = next(plan for _, _, plan in found if plan.name.startswith("FlowAdams"))
    untuned = min(((error(denoiser, judge, plan), i, plan) for i, plan in enumerate(first)))
    begin = [first[0]] if first[0] is flow or n == 1 else [first[0], flow]
    fits = [plan for start in begin for plan in fit(denoiser, data, start, search)]
    fitted = [(error(denoiser, judge, plan), i, plan) for i, plan in enumerate(fits, len(first))]
    reached, _, plan = min([untuned, *(entry for entry in fitted if math.isfinite(entry[0]))])
    walk = plan.walk(denoiser.schedule)
    return Tuned(walk, reached, untuned[0], untuned[2].name, plan.name)


@torch.no_grad()
def error(denoiser: Denoise, data: Sample, plan: Plan, batch: int = 64) -> float:
    """The mean distance of a walk's ends from those of the fine solve, as a share of these ends' deviation."""
    far = [
        distance(end(denoiser, part.noise, plan.t, plan.weights, part.cond), part.end)
        for part in (data[rows] for rows in torch.arange(len(data.noise)).split(batch))
    ]
    return float(torch.cat(far).mean() / data.end.std())


@torch.no_grad()
def solved(denoiser: Denoise, noise: Tensor, cond: Mapping[str, Tensor], fine: int, batch: int = 64) -> Sample:
    """Noises, (N, ...), with the ends of their fine solve."""
    plan = linear(FlowAdams(), denoiser.schedule, Auto(low=-2.5, high=3.0, fall=2.0)(denoiser.schedule, fine))
    noise = denoiser.project(noise, cond)
    ends = []
    for rows in torch.arange(len(noise)).split(batch):
        part = {name: value[rows] for name, value in cond.items()}
        ends.append(FlowAdams()(denoiser, noise[rows] * _start(denoiser.schedule), plan.t.tolist(), part))
    return Sample(noise, cond, torch.cat(ends))


def _start(schedule: Schedule) -> float:
    """The deviation of x_1 for unit data."""
    alpha, sigma = schedule(torch.ones((), dtype=torch.float64))
    return float((alpha**2 + sigma**2).sqrt())


def tune(
    run: Path,
    budgets: Sequence[int],
    *,
    cond: Mapping[str, Any] | None = None,
    scale: float | None = None,
    search: Search | None = None,
    device: str = "auto",
    say: Callable[[str], object] = print,
) -> dict[int, Tuned]:
    """Fits a walk for each number of steps and stores them in the run, where sampling with so many steps uses them.

    Args:
        run: The run's folder; its `recipe.toml` gets `[sampler.Fitted]` and `[times.Fitted]`, which keep what was there for all
            other numbers of steps.
        budgets: Numbers of steps.
        cond: Conditions to fit under, as `Model.sample` takes them; None draws them as the data have them.
        scale: Of classifier-free guidance, in place of the recipe's.
        search: How much is spent.
        device: "auto", "cuda", "mps" or "cpu".
        say: Takes a line for each budget.

    Raises:
        ValueError: For a folder that is no run, or a number of steps below 1.
    """
    if not budgets or min(budgets) < 1:
        raise ValueError(f"steps {list(budgets)}: expected numbers from 1 on")
    search = search or Search()
    model = load(run, device=machine.device(device))
    denoiser = model.guided(model.guidance, scale)
    data, judge = _samples(model, denoiser, cond, search)
    found = {}
    for n in sorted(set(budgets)):
        found[n] = best(denoiser, n, data, judge, search)
        say(f"{n:3d} steps: error {found[n].error:.4f}, untuned {found[n].untuned:.4f} by {found[n].best} ({found[n].source})")
        _store(run, {n: found[n]})
    return found


def _samples(model: Model, denoiser: Denoise, cond: Mapping[str, Any] | None, search: Search) -> tuple[Sample, Sample]:
    """Noises to fit to and noises to judge by, which no seed of sampling has."""
    total = search.noises + search.held_out
    seeds = range(search.seed, search.seed + total)
    values = model.draw(seeds) if cond is None else model.conditions(cond, total)
    values = {name: value.to(model.device) for name, value in values.items()}
    noise = Rng(seeds, device=model.device).normal(model.codec.shape(model.domain.shape), "tune")
    every = solved(denoiser, noise, values, search.fine, search.batch)
    rows = torch.arange(total)
    return every[rows[: search.noises]], every[rows[search.noises :]]


def _store(run: Path, found: Mapping[int, Tuned]) -> None:
    """Writes walks into the run's recipe, beside those that it has."""
    file = run / "recipe.toml"
    recipe = Recipe.parse(file.read_text("utf-8"), name=str(file))
    before = {section: dict(recipe.members(section)) for section in ("sampler", "times")}
    kept = {section: keys["Fitted"].get("otherwise", {"Auto": {}}) for section, keys in before.items() if "Fitted" in keys}
    walks = dict(before["times"].get("Fitted", {}).get("walks", {}))
    for n, tuned in found.items():
        walks[str(n)] = {"times": list(tuned.walk.values), "weights": [list(row) for row in tuned.walk.weights]}
    sections = {name: dict(members) for name, members in recipe.sections.items()}
    sections["sampler"] = {"Fitted": {"otherwise": kept.get("sampler", before["sampler"])}}
    sections["times"] = {"Fitted": {"walks": walks, "otherwise": kept.get("times", before["times"])}}
    changed = Recipe(sections, recipe.foreign)
    changed.check()
    fresh = file.with_suffix(".new")
    fresh.write_text(changed.dump(), "utf-8")
    fresh.replace(file)
