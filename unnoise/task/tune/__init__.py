"""Fitting a walk to a model: the times and weights that bring few evaluations closest to the model's own fine solve.

Every deterministic sampler of one evaluation a step is a linear walk: with y, u and v as in `FlowAdams`,

    y_(k+1) = y_k + sum_j w_kj v_(k-j)

so that its weights can be read off by walking it along unit vectors. The best of a grid of samplers and spacings are found
first, and led back, step by step, onto the course of the fine solve by least squares. From the best of these Adam follows the
gradient of the end error through the walk: for the times, whose change moves the weights as it moves those of `FlowAdams`, and
then for times and weights together. Of all that was met, what is best on other noises than those of the fit is kept, if it is
surely better than the best untuned walk.

Reference: Duan et al., Optimal Linear Subspace Search, 2023, arXiv:2305.14677; Frankel et al., S4S: Solving for a Fast Diffusion
Model Solver, 2025, arXiv:2502.17423; Tong et al., Learning to Discretize Denoising Diffusion ODEs, 2025, arXiv:2405.15506 (times
alone)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.denoiser import Denoise
from unnoise.model import Model, load
from unnoise.recipe import Recipe
from unnoise.sampler import FlowAdams
from unnoise.schedule import Schedule
from unnoise.task import machine
from unnoise.task.tune.course import Course
from unnoise.task.tune.fit import Search, Tuned, best
from unnoise.task.tune.linear import Sample, shares
from unnoise.tensor import Rng
from unnoise.times import Auto, One

__all__ = ["Course", "Search", "Tuned", "best", "solved", "tune"]

KNOTS = 128  # of a course, at most
COURSES = 2**28  # values of all courses, at most


@torch.no_grad()
def solved(denoiser: Denoise, noise: Tensor, cond: Mapping[str, Tensor], fine: int, batch: int = 64) -> Course:
    """Noises, (N, ...), with the ends of their fine solve, and the way there of as many as `COURSES` allows."""
    times = Auto(low=-2.5, high=3.0, fall=2.0)(denoiser.schedule, fine)
    t = torch.tensor(times.values, dtype=torch.float64)
    totals = [*sum(denoiser.schedule(t)).tolist(), 1.0]  # type: ignore[union-attr]
    knots = sorted({fine, *range(0, fine, -(-fine // KNOTS))})
    noise = denoiser.project(noise, cond)
    room, ends, ways = max(COURSES // (len(knots) * noise[0].numel()), 1), list[Tensor](), list[Tensor]()
    for rows in torch.arange(len(noise)).split(batch):
        part = {name: value[rows] for name, value in cond.items()}
        first, way = noise[rows] * _start(denoiser.schedule), list[Tensor]()
        states = (moment.x for moment in FlowAdams().walk(denoiser, first, times, part))
        for k, x in enumerate(itertools.chain([first], states)):
            way += [x[:room] / totals[k]] if k in knots else []
        ends.append(x)
        ways.append(torch.stack(way))
        room -= len(way[0])
    return Course(noise, cond, torch.cat(ends), shares(denoiser.schedule, t)[knots], torch.cat(ways, 1))


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
    minutes: float | None = None,
    device: str = "auto",
    say: Callable[[str], object] = print,
) -> dict[int, Tuned]:
    """Fits a walk for each number of steps and stores them in the run, where sampling with so many steps uses them.

    Args:
        run: The run's folder; its `recipe.toml` gets `[sampler.Fitted]` and `[times.Fitted]`, which keep what was there for all
            other numbers of steps. Training on forgets it.
        budgets: Numbers of steps.
        cond: Conditions to fit under, as `Model.sample` takes them; None draws them as the data have them.
        scale: Of classifier-free guidance, in place of the recipe's.
        search: How much is spent.
        minutes: About so long in all, at most: where the network is slow the search is made smaller. None leaves it as it is.
        device: "auto", "cuda", "mps" or "cpu".
        say: Takes a line for each budget.

    Raises:
        ValueError: For a folder that is no run, or a number of steps below 1.
    """
    if not budgets or min(budgets) < 1:
        raise ValueError(f"steps {list(budgets)}: expected numbers from 1 on")
    model = load(run, device=machine.device(device))
    if isinstance(model.times, One):
        raise ValueError(f"{run} answers at t = 1 alone: its walk has one time, and nothing to fit")
    denoiser = model.guided(model.guidance, scale)
    search = search or Search()
    if minutes is not None:
        pace = _pace(model, denoiser)
        search = search.within(60 * minutes / pace, budgets)
        say(f"about {search.cost(budgets) * pace / 60:.1f} minutes: {search.noises} noises, {search.steps} rounds")
    data, judge = _samples(model, denoiser, cond, search)
    found = {}
    for n in sorted(set(budgets)):
        found[n] = best(denoiser, n, data, judge, search)
        say(f"{n:3d} steps: error {found[n].error:.4f}, untuned {found[n].untuned:.4f} by {found[n].best} ({found[n].source})")
        _store(run, {n: found[n]})
    return found


def _pace(model: Model, denoiser: Denoise, batch: int = 8) -> float:
    """Seconds that the network takes for a sample."""
    seconds = 0.0
    x = Rng(range(batch), device=model.device).normal(model.codec.shape(model.domain.shape), "tune")
    cond = {name: value.to(model.device) for name, value in model.draw(range(batch)).items()}
    for _ in range(2):  # the second counts
        started = time.perf_counter()
        with torch.no_grad():
            denoiser(x, 0.5, cond).sum().item()
        seconds = time.perf_counter() - started
    return seconds / batch


def _samples(model: Model, denoiser: Denoise, cond: Mapping[str, Any] | None, search: Search) -> tuple[Course, Sample]:
    """Noises to fit to and noises to judge by, which no seed of sampling has."""
    total = search.noises + search.held_out
    seeds = range(search.seed, search.seed + total)
    values = model.draw(seeds) if cond is None else model.conditions(cond, total)
    values = {name: value.to(model.device) for name, value in values.items()}
    noise = Rng(seeds, device=model.device).normal(model.codec.shape(model.domain.shape), "tune")
    data, judge = (
        solved(denoiser, noise[rows], {name: value[rows] for name, value in values.items()}, search.fine, search.batch)
        for rows in torch.arange(total).split([search.noises, search.held_out])
    )
    return data, judge


def _short(weight: float) -> float:
    return float(f"{weight:.9g}")


def _store(run: Path, found: Mapping[int, Tuned]) -> None:
    """Writes walks into the run's recipe, beside those that it has."""
    file = run / "recipe.toml"
    recipe = Recipe.parse(file.read_text("utf-8"), name=str(file))
    before = {section: dict(recipe.members(section)) for section in ("sampler", "times")}
    kept = {section: keys["Fitted"].get("otherwise", {"Auto": {}}) for section, keys in before.items() if "Fitted" in keys}
    walks = dict(before["times"].get("Fitted", {}).get("walks", {}))
    for n, tuned in found.items():
        walks[str(n)] = {"times": list(tuned.walk.values), "weights": [list(map(_short, row)) for row in tuned.walk.weights]}
    sections = {name: dict(members) for name, members in recipe.sections.items()}
    sections["sampler"] = {"Fitted": {"otherwise": kept.get("sampler", before["sampler"])}}
    sections["times"] = {"Fitted": {"walks": walks, "otherwise": kept.get("times", before["times"])}}
    changed = Recipe(sections, recipe.foreign)
    changed.check()
    fresh = file.with_suffix(".new")
    fresh.write_text(changed.dump(), "utf-8")
    fresh.replace(file)
