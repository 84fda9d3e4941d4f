"""The known faults of diffusion libraries, to be planted one by one: `unnoise selfcheck` must catch every one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch

from unnoise import guidance, level, prediction, sampler, schedule, times
from unnoise.sampler import base, ddim, euler, heun, multistep
from unnoise.task.selfcheck import Report, laws, selfcheck, walks


class Mutant(NamedTuple):
    """A fault, the check that must find it, and (for speed) the samplers that are looked at."""

    name: str
    check: str
    plant: Callable[[pytest.MonkeyPatch], None]
    samplers: tuple[sampler.Sampler, ...] = ()


def caught(mutant: Mutant) -> Report:
    """The report of the mutant's check with the fault planted."""
    with pytest.MonkeyPatch.context() as patch:
        look(patch, mutant.samplers)
        mutant.plant(patch)
        return selfcheck(quick=True, only=mutant.check)


def look(patch: pytest.MonkeyPatch, samplers: tuple[sampler.Sampler, ...]) -> None:
    """Have selfcheck look at these samplers only."""
    if samplers:
        patch.setattr(walks, "samplers", lambda options=True: list(samplers))


def replaced(place: Any, name: str, change: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Plants `change(original, *arguments)` in the place of a function or method."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = getattr(place, name)
        patch.setattr(place, name, lambda *arguments, **options: change(original, *arguments, **options))

    return plant


def both(*plants: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: [plant(patch) for plant in plants] and None


def even(path: Callable[..., Any], of: Any, visited: Any) -> Any:
    n = len(visited)
    return path(of, [visited[0] + (visited[-1] - visited[0]) * k / max(n - 1, 1) for k in range(n)])


def unchecked(original: Callable[..., Any], self: times.Given) -> None:
    object.__setattr__(self, "values", tuple(float(t) for t in self.values))


def wrong_end(original: Any, self: Any, denoiser: Any, x: Any, visited: Any, cond: Any = None, rng: Any = None) -> Any:
    walk = base.Walk(denoiser, cond, rng, visited, self.plan(denoiser.schedule, visited))
    for k in range(len(visited) - 1):
        x = self.step(walk, x, k)
        yield base.Moment(k, visited[k + 1], x, walk.answer.x0, walk.nfe)
    if not getattr(visited, "final", False):
        x = walk.denoise(x, visited[max(len(visited) - 2, 0)])
        yield base.Moment(len(visited) - 1, visited[-1], x, x, walk.nfe)


def stale(original: Any, self: base.Walk, like: Any, t: float, s: float) -> Any:
    if not hasattr(self, "stale"):
        self.stale = original(self, like, t, s)  # type: ignore[attr-defined]
    return self.stale  # type: ignore[attr-defined]


def swapped(original: Any, self: Any, of: Any, visited: Any) -> Any:
    other = {"small": "large", "large": "small"}.get(self.variance, self.variance)
    return original(type(self)(other, self.moments), of, visited)


def scaled_noise(original: Any, self: Any, of: Any, visited: Any) -> Any:
    return [(a, b, c * 0.95, *rest) for a, b, c, *rest in original(self, of, visited)]


def without_score(original: Any, self: Any, of: Any, visited: Any) -> Any:
    drift = original(type(self)(0.0), of, visited)
    return [(a, b, c) for (a, b, _), (_, _, c) in zip(drift, original(self, of, visited), strict=True)]


def at_any_order(original: Any, self: Any, at: Any, visited: Any) -> Any:
    return [min(self.order, k + 1) for k in range(len(visited) - 1)]


def no_scale(original: Any, self: Any, s: Any, t: Any) -> Any:
    scale, _ = original(self, s, t)
    return scale, (self(t)[1] ** 2 - self(s)[1] ** 2).clamp(min=0).sqrt()


def own_beta(original: Any, self: Any, s: Any, t: Any) -> Any:
    c_x, c_t, _ = original(self, s, t)
    return c_x, c_t, self.transition(s, t)[1]


def inverted(original: Any, at: Any, k: int, order: int, published: bool) -> Any:
    h, past = at.lam[k + 1] - at.lam[k], at.lam[k] - at.lam[k - 1]
    return [[h / past * (past / h) ** 2, -h / past * (past / h) ** 2]] if order == 2 else original(at, k, order, published)


def alike(original: Any, self: base.Walk, like: Any, t: float, s: float) -> Any:
    return original(self, like, t, s)[:1].expand_as(like).clone()


def wrong_sign(alpha: Any, sigma: Any) -> Any:
    power = alpha**2 + sigma**2
    return alpha / power, sigma / power, power.rsqrt()


def no_limit(original: Any, self: Any, at: Any, k: int, order: int) -> Any:
    a, (b, *older), c = self.weights(at, k, order)
    to_eps = (1 / at.sigma[k], -at.alpha[k] / at.sigma[k])
    return multistep.Terms(a + b * to_eps[0], b * to_eps[1], tuple(older), c, to_eps)


def off_by_one(original: Any, self: Any, denoise: Any, x_t: Any, t: Any, cond: Any) -> Any:
    return original(guidance.CFG(self.scale + 1), denoise, x_t, t, cond)


DDIM, EULER_MARUYAMA, TWO_M, HEUN = sampler.DDIM(), sampler.EulerMaruyama(), sampler.DPMpp2M(), sampler.Heun()
MUTANTS = [
    Mutant("the stride of a step disagrees with the list", "convergence", replaced(ddim, "path", even), (DDIM,)),
    Mutant("times are doubled by rounding", "times", both(
        replaced(times.Given, "__post_init__", unchecked),
        replaced(times.LogSNR, "at", lambda o, self, of, u: (o(self, of, u) * 50).round() / 50))),
    Mutant("entries are doubled by rounding", "times", both(
        replaced(times.Given, "__post_init__", unchecked),
        replaced(times.Trailing, "entries", lambda o, self, size, n: [e - e % 25 for e in o(self, size, n)]),
        lambda patch: patch.setattr(times, "set", list, raising=False))),
    Mutant("no limit at sigma 0", "walks", replaced(multistep.Multistep, "orders", at_any_order), (TWO_M,)),
    Mutant("no limit where the signal is lost", "walks",
           replaced(multistep.Multistep, "_terms", no_limit), (sampler.DPMSolver(),)),
    Mutant("the start is scaled for t = 1", "prior and noise",
           replaced(laws, "prior", lambda o, of, shape, t, *rest: o(of, shape, 1.0, *rest))),
    Mutant("a spacing never sees the noisiest level", "times", replaced(
        times.Spaced, "__call__", lambda o, self, of, n: times.Given(tuple(t - (1 - t / 2) / (3 * n) for t in o(self, of, n))))),
    Mutant("trailing is one entry short", "times",
           replaced(times.Trailing, "entries", lambda o, self, size, n: [max(e - 1, 0) for e in o(self, size, n)])),
    Mutant("Karras's rho is forgotten", "times", replaced(
        times.Karras, "at", lambda o, self, of, u: o(times.Karras(rho=1.0), of, u))),
    Mutant("2M: the ratio of steps upside down", "formulas", replaced(multistep, "differences", inverted)),
    Mutant("2M: the old value counts half", "convergence", replaced(
        multistep, "differences", lambda o, *a: [[w / 2 for w in row] for row in o(*a)]), (TWO_M,)),
    Mutant("Heun's second slope at the first place", "convergence",
           replaced(heun.Heun, "middles", lambda o, self, of, start, end: start.t), (HEUN,)),
    Mutant("PNDM: a wrong digit", "convergence", lambda patch: patch.setattr(
        "unnoise.sampler.adams.ADAMS", ((1.0,), (1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -58 / 24, 37 / 24, -9 / 24))),
        (sampler.PNDM(),)),
    Mutant("the last denoising at the last but one time", "walks", replaced(base.Sampler, "walk", wrong_end), (DDIM,)),
    Mutant("evaluations are miscounted", "walks", replaced(heun.Heun, "evaluations", lambda o, self, n: 2 * n), (HEUN,)),
    Mutant("the same noise every step", "randomness", replaced(sampler.Brownian, "__call__", stale), (sampler.Ancestral(),)),
    Mutant("the same noise every step (by its law)", "prior and noise", replaced(base.Walk, "noise", stale)),
    Mutant("the same noise for the whole batch", "prior and noise", replaced(base.Walk, "noise", alike)),
    Mutant("posterior variance and beta swapped", "exact chains", replaced(sampler.Ancestral, "plan", swapped)),
    Mutant("beta for the posterior's variance", "schedules", replaced(schedule.Schedule, "posterior", own_beta)),
    Mutant("DDIM: too little noise", "exact chains", replaced(ddim.DDIM, "plan", scaled_noise)),
    Mutant("reverse SDE with the drift of the flow", "spread",
           replaced(euler.EulerMaruyama, "plan", without_score), (EULER_MARUYAMA,)),
    Mutant("guidance: scale 0 is off", "closed forms", replaced(guidance.CFG, "__call__", off_by_one)),
    Mutant("guidance: the classifier's slope is taken twice", "closed forms",
           replaced(guidance.Classifier, "slope", lambda original, self, *at: 2 * original(self, *at))),
    Mutant("guidance: the null sees the condition", "closed forms",
           lambda patch: patch.setattr("unnoise.guidance.contrast.nulls", lambda conds, batch, device: {})),
    Mutant("v with the wrong sign", "predictions", lambda patch: patch.setattr(prediction, "v", wrong_sign)),
    Mutant("c_in is forgotten", "predictions", lambda patch: patch.setattr(
        "unnoise.denoiser.base.expand", lambda c, x: torch.ones_like(x) if c.dtype == torch.float32 else c[:, None])),
    Mutant("the table is read one entry off", "schedules",
           replaced(schedule.Table, "__call__", lambda o, self, t: o(self, (t - 1 / len(self)).clamp(min=self.t_min / 2)))),
    Mutant("the level is one entry off", "schedules", replaced(level, "index", lambda o, of, t: o(of, t) + 1)),
    Mutant("times are found again too coarsely", "schedules", lambda patch: patch.setattr("unnoise.schedule.base.HALVINGS", 12)),
    Mutant("the chain's step forgets its scale", "schedules", replaced(schedule.Schedule, "transition", no_scale)),
    Mutant("alpha of a chain without its root", "schedules", lambda patch: patch.setattr(
        schedule.Discrete, "scaled", staticmethod(lambda signal, noise: (signal**2, noise)))),
]  # fmt: skip
