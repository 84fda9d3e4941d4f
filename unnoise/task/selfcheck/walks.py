"""Samplers on laws whose ends are known: order of convergence, number of evaluations, spread of the samples."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unnoise.sampler import Sampler
from unnoise.schedule import VP, Schedule
from unnoise.task.selfcheck.cells import Cell, Cells, attempt
from unnoise.task.selfcheck.members import DEFAULT, FEW, label, samplers, schedules, spacings
from unnoise.task.selfcheck.targets import Target, mixture, normal, solved
from unnoise.tensor import Rng
from unnoise.times import Given, LogSNR, Tabled, Times, Uniform

FIRST, LAST = 3.0, -2.5  # log(sigma / alpha) between which orders are measured
SHORTFALL = 0.5  # of a measured order: what steps of this size leave of a method's start
STD = 0.01  # share by which standard deviations may be off after 1000 steps
ROUGH = 0.2  # root mean square error of a walk of 49 times that is still fit for pictures
SETTLED = 1e-3  # errors below this need not fall any more: what the last denoising takes from the spread stays
POINTS, DRAWS = 96, 400  # coordinates and samples of laws that are found by chance
CHANCE = 0.02  # five standard errors of their spread
# Orders on ragged times of methods that say of themselves that they need even ones.
RAGGED = {"PNDM": 0, "Singlestep": 2}
# Schedules whose t is a law for training, too steep at its ends to walk along evenly, with times that suit them.
WALKED = {"Laplace": LogSNR()} if isinstance(DEFAULT, Uniform) else {}
# Wider bounds of the spread for what is right, but slow: by sampler and schedule.
KNOWN = {
    ("Ancestral", "ZeroSNR"): (0.0115, "the small variance is right for data at a point"),
    ("ReverseDiffusion(eta=0)", "VP"): (0.025, "the step of the chain without its noise, as published"),
}


def converge(quick: bool) -> Cells:
    """Each deterministic sampler on an exact mixture, on smooth and on ragged times, against a fine solution."""
    for sampler in samplers():
        if not sampler.stochastic and sampler.evaluations(9) is not None:
            yield from (_order(sampler, VP(), smooth) for smooth in (True, False))
            yield Cell("end error", label(sampler), "VP, 49 steps", end_error(sampler, VP(), 49), ROUGH)
    for schedule, sampler in itertools.product([] if quick else schedules(), samplers(options=False)):
        if not sampler.stochastic and sampler.evaluations(9) is not None and label(schedule) != "VP":
            yield _order(sampler, schedule, True)
    adaptive = [sampler for sampler in samplers() if not sampler.stochastic and sampler.evaluations(9) is None]
    for sampler in adaptive:
        tolerance = 2 * getattr(sampler, "rtol", 0.0)  # its own is that of one step
        yield attempt("end error", label(sampler), "VP, its own steps", functools.partial(end_error, sampler, VP(), 2), tolerance)


def _order(sampler: Sampler, schedule: Schedule, smooth: bool) -> Cell:
    """The better of the slopes over two doublings: the finest walks of high order are limited by their first steps."""

    def slope() -> float:
        errors = [end_error(sampler, schedule, n, smooth) for n in ((25, 49, 97) if label(schedule) == "VP" else (49, 97))]
        return max(math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors))

    stated = stated_order(sampler) if smooth else min(stated_order(sampler), RAGGED.get(type(sampler).__name__, 9))
    where = f"{label(schedule)}, {'smooth' if smooth else 'ragged'} times"
    return attempt("order", label(sampler), where, slope, stated - SHORTFALL, at_least=True)


def stated_order(sampler: Sampler) -> int:
    """The order that a sampler claims for itself, as its options lower it."""
    lowered = getattr(sampler, "lower", False) or getattr(sampler, "halved", False)
    return min(sampler.order, 2) if lowered else sampler.order


def end_error(sampler: Sampler, schedule: Schedule, n: int, smooth: bool = True) -> float:
    """Root mean square distance of the ends of a walk of n times from those of the fine solution."""
    noisiest = float(schedule.log_snr(torch.ones((), dtype=torch.float64))) / -2
    first = min(FIRST, math.floor(10 * noisiest - 1e-6) / 10) if noisiest < FIRST else FIRST
    start, end = solved(first, LAST)
    u = torch.linspace(0, 1, n, dtype=torch.float64)
    if smooth:
        u = u + 0.1 * (math.pi * u).sin() ** 2
    else:
        steps = torch.tensor([1.0, 1.5], dtype=torch.float64).repeat(n)[: n - 1].cumsum(0)
        u = torch.cat([u[:1], steps / steps[-1]])
    t = schedule.time(-2 * (first + (LAST - first) * u))
    alpha, _ = schedule(t[:1])
    return float((sampler(mixture(schedule), start * alpha, Given(tuple(t.tolist()))) - end).square().mean().sqrt())


def spread(quick: bool) -> Cells:
    """The spread of samples of a normal law: after 1000 steps on default times; whether 600 steps are worse than 500."""
    for schedule in schedules(quick):
        name = label(schedule).partition("(")[0]
        target, times = normal(schedule), WALKED.get(name, DEFAULT)
        for sampler in samplers(options=not quick and name == "VP"):
            once = not sampler.order or sampler.evaluations(9) is None  # nothing is claimed, or not of steps
            if once and (name != "VP" or (_is_slow(sampler) and (quick or sampler != type(sampler)()))):
                continue
            n = 1000 if sampler.evaluations(9) else 30
            bound, _ = KNOWN.get((label(sampler), name), (STD if sampler.order else math.inf, ""))
            yield attempt("std error", label(sampler), f"{label(schedule)}, {label(times)}, {n} steps",
                          functools.partial(_std_after, sampler, target, times, n), bound)  # fmt: skip
    for schedule, sampler in itertools.product(schedules(quick=True), samplers(options=False)):
        if not quick and sampler.order and sampler.evaluations(9):
            yield attempt("std error at 600 of that at 500 steps", label(sampler), f"{label(schedule)}, {label(DEFAULT)}",
                          functools.partial(_settles, sampler, normal(schedule)), 2.0)  # fmt: skip


def _std_after(sampler: Sampler, target: Target, times: Times, n: int) -> float:
    return std_error(sampler, target, times(target.schedule, n))


def _is_slow(sampler: Sampler) -> bool:
    """Samplers whose law is found by chance: their steps depend on norms."""
    return "norms" in repr(sampler)


def _settles(sampler: Sampler, target: Target) -> float:
    at_500, at_600 = (_std_after(sampler, target, DEFAULT, n) for n in (500, 600))
    return at_600 / max(at_500, SETTLED / 2)


def std_error(sampler: Sampler, target: Target, times: Sequence[float]) -> float:
    """The largest share by which a walk's standard deviations along the coordinates are off, started from the exact law."""
    return float((spread_of(sampler, target, times) / target.stds[0] - 1).abs().max())


def spread_of(sampler: Sampler, target: Target, times: Sequence[float]) -> Tensor:
    """The standard deviations of a walk's end, (D,).

    Where the walk is linear in its start and its noises, these are found without chance: as the root of the sum of the squares of
    what each of them, alone, makes of the end.
    """
    few = Given((*times[:6], times[-1])) if len(times) > 6 else times
    probe = Impulses(target)
    ends = sampler(target, _rows(target, few[0], [1.0, 2.0, 3.0]), few, rng=probe)
    if not torch.allclose(ends[2] - ends[1], ends[1] - ends[0], rtol=1e-6, atol=1e-9):
        return _by_chance(sampler, target, times) if sampler.stochastic else _by_quantiles(sampler, target, times)
    rows = -(-probe.count // max(len(few) - 1, 1)) * len(times)
    end = sampler(target, _rows(target, times[0], [0.0, 1.0] + [0.0] * rows), times, rng=Impulses(target, first=2))
    return (end[1:] - end[0]).square().sum(0).sqrt()


class Impulses:
    """In the place of randomness: each independent noise is 1 in one row of its own and 0 in the others.

    Noise for an interval that goes on from the one before (same t, s further down) is that one's and a new one's, in the
    shares of their lengths on the clock SNR, as on a Brownian path.

    Args:
        target: Whose schedule has the clock.
        first: The row of the first; None counts them, each being 1 in all rows.
    """

    def __init__(self, target: Target, first: int | None = None) -> None:
        self.target, self.first, self.count = target, first, 0
        self.last = (math.nan, math.nan)
        self.clocks: dict[float, float] = {}
        self.held: list[tuple[int, float]] = []  # rows and clock lengths of the interval so far

    def __call__(self, like: Tensor, t: float, s: float) -> Tensor:
        goes_on = t == self.last[0] and s < self.last[1] < t
        begin = self.last[1] if goes_on else t
        length = self._clock(s) - self._clock(begin) if s < t else 1.0
        self.held = [*(self.held if goes_on else []), (self.count, length)]
        self.last, self.count = (t, s), self.count + 1
        if self.first is None:
            return torch.ones_like(like)
        noise, total = torch.zeros_like(like), sum(length for _, length in self.held)
        for row, length in self.held:
            noise[self.first + row] = (length / total) ** 0.5 if total < math.inf else float(length == math.inf)
        return noise

    def _clock(self, t: float) -> float:
        if t not in self.clocks:
            self.clocks[t] = float(self.target.schedule.log_snr(torch.tensor(t, dtype=torch.float64)).exp())
        return self.clocks[t]


def _rows(target: Target, t: float, places: Sequence[float]) -> Tensor:
    mean, std = target.law(t)
    return mean + std * torch.tensor(places, dtype=torch.float64)[:, None]


def _by_quantiles(sampler: Sampler, target: Target, times: Sequence[float]) -> Tensor:
    u = (torch.arange(16, dtype=torch.float64) + 0.5) / 16
    places = torch.special.ndtri(u)
    end = sampler(target, _rows(target, times[0], (places / places.std(correction=0)).tolist()), times)
    return end.std(0, correction=0)


def _by_chance(sampler: Sampler, target: Target, times: Sequence[float]) -> Tensor:
    """From draws, over many coordinates of each standard deviation, by which the size of a step may depend on their norm."""
    many = Target(target.schedule, target.weights, target.means.repeat(1, POINTS // 3), target.stds.repeat(1, POINTS // 3))
    rng = Rng(list(range(DRAWS)))
    mean, std = many.law(times[0])
    end = sampler(many, mean + std * rng.normal((POINTS,), "start", dtype=torch.float64), times, rng=rng)
    pooled = ((end - many.means[0]) / many.stds[0]).square().mean().sqrt()
    return target.stds[0] * pooled


def evaluate(quick: bool) -> Cells:
    """Walks on every schedule and spacing: finite, with as many evaluations as stated, at the times that are listed."""
    rules = itertools.cycle(spacings())
    for schedule, sampler in itertools.product(schedules(quick), samplers(options=False)):
        adaptive = sampler.evaluations(9) is None
        for n in (2,) if adaptive else (1, 2, 10) if quick else (1, 2, 3, 7, 20):
            rule = next(rules)
            while isinstance(rule, Tabled) and not hasattr(schedule, "betas"):
                rule = next(rules)
            rule = Uniform() if label(rule).startswith("Listed") else rule
            yield from _walk(sampler, schedule, f"{label(schedule)}, {label(rule)}, {n} steps",
                             functools.partial(rule, schedule, n))  # fmt: skip
        ends = (1.0, 0.5, 0.25, 0.0)  # clean data itself
        yield from _walk(sampler, schedule, f"{label(schedule)}, down to clean data", functools.partial(Given, ends, True))


def _walk(sampler: Sampler, schedule: Schedule, where: str, times: Callable[[], Sequence[float]]) -> Cells:
    target = normal(schedule)
    seen: list[tuple[int, Sequence[float]]] = []

    def broken() -> float:
        visited = times()
        x = _rows(target, visited[0], [-1.0, 0.5, 1.5]).float()
        moments = list(sampler.walk(target, x, visited, rng=Rng([1, 2, 3])))
        seen.append((moments[-1].nfe if moments else 0, visited))
        return float(sum(int((~moment.x.isfinite()).sum()) for moment in moments))

    yield attempt("values that are not finite", label(sampler), where, broken, 0)
    for nfe, visited in seen:
        stated = sampler.evaluations(len(visited))
        if stated is not None and not getattr(visited, "final", False):
            yield Cell("evaluations beside those stated", label(sampler), where, abs(nfe - stated), 0)
            if stated == len(visited):
                elsewhere = sum(map(operator.ne, target.asked, visited))
                yield Cell("evaluations at times not listed", label(sampler), where, elsewhere, 0)


def randomness(quick: bool) -> Cells:
    """Stochastic samplers with the package's own noise: the spread of ten steps is the one found without chance."""
    for schedule, sampler in itertools.product(FEW[:2], samplers(options=False)):
        if not sampler.stochastic or _is_slow(sampler):
            continue
        target, times = normal(schedule), Uniform()(schedule, 10)
        yield attempt("spread by chance over the exact one", label(sampler), f"{label(schedule)}, 10 steps",
                      functools.partial(_chance_error, sampler, target, times), CHANCE)  # fmt: skip


def _chance_error(sampler: Sampler, target: Target, times: Sequence[float]) -> float:
    drawn, exact = _by_chance(sampler, target, times), spread_of(sampler, target, times)
    return abs(float(drawn[0] / target.stds[0, 0] / (exact / target.stds[0]).square().mean().sqrt()) - 1)
