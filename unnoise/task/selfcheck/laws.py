"""Laws of what samplers stand on: schedules, predictions, times, exact denoisers, guidance, the prior and the noise."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unnoise import guidance as guidance_room
from unnoise import level as levels
from unnoise import prediction as prediction_room
from unnoise.denoiser import Denoiser, Empirical, Gaussian, Mixture
from unnoise.guidance import CFG, Classifier, Guidance, Guided
from unnoise.prediction import Prediction
from unnoise.sampler import DDIM, Ancestral, Sampler, Walk, prior
from unnoise.schedule import Discrete, Schedule, Table
from unnoise.task.selfcheck.cells import Cell, Cells, attempt
from unnoise.task.selfcheck.members import FEW, concrete, label, schedules, spacings
from unnoise.task.selfcheck.targets import Target, mixture, normal
from unnoise.task.selfcheck.walks import spread_of
from unnoise.tensor import Cond, Rng, expand
from unnoise.times import Given, Listed, Times, Uniform

EXACT = 1e-9  # of identities in float64
SLOPES = 1e-4  # of derivatives against differences
MOMENTS = 0.01  # share by which drawn moments may be off
DRAWS = 256  # samples, and values of each
PLACES = 400  # times at which a law is tried
UNEVEN = 0.1  # share by which even spaces may differ


def schedule_laws(quick: bool) -> Cells:
    """The signal falls against the noise, times are found again, the chain composes, its posterior is Bayes's."""
    for schedule in schedules():
        name, t = label(schedule), torch.linspace(schedule.t_min, 1, PLACES, dtype=torch.float64)
        log_snr = schedule.log_snr(t)
        yield Cell("rise of the log-SNR", name, "its times", float(log_snr[log_snr.isfinite()].diff().max()), -1e-12)
        errors = {
            "time(log_snr(t))": schedule.time(log_snr) - t,
            "q(x_t | x_s) after q(x_s | x)": _composition(schedule, t[:-1], t[1:]),
            "the posterior against Bayes": _bayes(schedule, t[:-1], t[1:]),
            "the rates": _rates(schedule, t) * EXACT / SLOPES,
        }
        if isinstance(schedule, Discrete):
            places = schedule.times
            alpha, _ = schedule(places)
            errors |= {
                "alpha^2 = prod (1 - beta)": alpha**2 - torch.cumprod(1 - schedule.betas, 0),
                "alpha^2 + sigma^2 = 1": torch.stack(schedule(t)).square().sum(0) - 1,
                "the level index": levels.index(schedule, places) - torch.arange(len(schedule)),
            }
        for law, error in errors.items():
            yield Cell(f"error of {law}", name, "its times", float(error.abs().max()), EXACT)


def _composition(schedule: Schedule, s: Tensor, t: Tensor) -> Tensor:
    (alpha_s, sigma_s), (alpha_t, sigma_t), (scale, std) = schedule(s), schedule(t), schedule.transition(s, t)
    signal = (scale * alpha_s - alpha_t) / alpha_t.clamp(min=1e-3)
    return signal.abs() + (((scale * sigma_s) ** 2 + std**2) / sigma_t**2 - 1).abs()


def _bayes(schedule: Schedule, s: Tensor, t: Tensor) -> Tensor:
    """The posterior's three numbers against those of two normal laws multiplied: precisions add."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule(s), schedule(t)
    scale = alpha_t / alpha_s
    step = sigma_t**2 * -torch.expm1(schedule.log_snr(t) - schedule.log_snr(s))
    variance = 1 / (1 / sigma_s**2 + scale**2 / step)
    expected = torch.stack([variance * alpha_s / sigma_s**2, variance * scale / step, variance.sqrt()])
    return (torch.stack(schedule.posterior(s, t)) - expected) / (expected.abs() + 1e-6) / 10


def _rates(schedule: Schedule, t: Tensor) -> Tensor:
    """Derivatives against differences, between the entries of a table."""
    t, h = (t[:-1] * 0.61803 + t[1:] * 0.38197)[1:-1], 1e-7
    if isinstance(schedule, Table):
        t = ((t * len(schedule)).floor() + 0.5) / len(schedule)
    slopes = (torch.stack(schedule(t + h)) - torch.stack(schedule(t - h))) / (2 * h)
    rates = torch.stack(schedule.rates(t))
    return (rates - slopes) / (1 + rates.abs())


# What each prediction is a prediction of, from (x, eps, alpha, sigma): written from the papers, not from the code.
MEANINGS: dict[str, Callable[..., Tensor]] = {
    "eps": lambda x, eps, alpha, sigma: eps,
    "x0": lambda x, eps, alpha, sigma: x,
    "v": lambda x, eps, alpha, sigma: alpha * eps - sigma * x,
    "score": lambda x, eps, alpha, sigma: -eps / sigma,
    "flow": lambda x, eps, alpha, sigma: eps - x,
    "edm": lambda x, eps, alpha, sigma: (sigma * x - alpha * 0.25 * eps) / (0.5 * (sigma**2 + alpha**2 * 0.25).sqrt()),
}  # fmt: skip
TYPES = {"float64": (torch.float64, 1e-9), "float32": (torch.float32, 2e-6), "bfloat16": (torch.bfloat16, 0.02)}


class Oracle(nn.Module):
    """A network that knows its answer; it runs in a type of its own, and notes by how much its input missed unit variance."""

    def __init__(self, answer: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.answer, self.dtype, self.seen = answer, dtype, torch.zeros(())

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        self.seen = x
        return self.answer.to(self.dtype).to(x.dtype)


def prediction_laws(quick: bool) -> Cells:
    """The exact answer of a network gives x back: every prediction, schedule and precision, at both ends and between."""
    for schedule, name, kind in itertools.product(schedules(), prediction_room.__all__, TYPES):
        yield attempt("error of x0", name, f"{label(schedule)}, {kind}",
                      functools.partial(_round_trip, schedule, name, *TYPES[kind]), 1.0)  # fmt: skip


def predictions(schedule: Schedule, name: str) -> Prediction:
    """The prediction of this name; one that belongs to a chain is made for it.

    Raises:
        ValueError: If it belongs to chains and this is none.
    """
    member: Any = getattr(prediction_room, name)
    belongs = inspect.isclass(member)
    if belongs and not isinstance(schedule, Discrete):
        raise ValueError(f"{name} belongs to the entries of a chain")
    return member(schedule) if belongs else member


def _round_trip(schedule: Schedule, name: str, dtype: torch.dtype, tolerance: float) -> float:
    """The largest error of x0, in units of what this precision and the coefficients' size leave of it."""
    predict = predictions(schedule, name)
    t = schedule.times if isinstance(schedule, Discrete) else torch.linspace(schedule.t_min, 1, 1000, dtype=torch.float64)
    x, eps = Rng([0]).normal((2, len(t), 8), "round trip", dtype=torch.float64)[0]
    alpha, sigma = (expand(c, x) for c in schedule(t))
    x_t = alpha * x + sigma * eps
    c_skip, c_out, c_in = (expand(c, x) for c in predict(*schedule(t)))
    if name in MEANINGS:
        answer = MEANINGS[name](x, eps, alpha, sigma)
    elif name == "Mean":
        c_x, c_t, _ = schedule.posterior(t - 1 / len(t), t)
        answer = expand(c_x, x) * x + expand(c_t, x) * x_t
    else:
        answer = (x - c_skip * x_t) / c_out
    work = torch.float64 if dtype == torch.float64 else torch.float32
    denoiser = Denoiser(network := Oracle(answer, dtype), schedule, predict)
    x0 = denoiser(x_t.to(work), t)
    unit = ((c_in * x_t).to(work) - network.seen).abs().max()
    allowed = tolerance * (1 + (c_skip * x_t).abs() + (c_out * answer).abs())
    return float(((x0 - x).abs() / allowed).max() + unit / 1e-3)


def time_laws(quick: bool) -> Cells:
    """Every grid falls strictly, begins at the noisiest level, ends at the cleanest and visits what its rule says."""
    for schedule, rule in itertools.product(schedules(quick), spacings()):
        for n in (1, 2, 10, 100) if quick else (1, 2, 3, 7, 33, 100, 999):
            yield attempt("faults of the grid", label(rule), f"{label(schedule)}, {n} steps",
                          functools.partial(_grid_faults, schedule, rule, n), 0.0)  # fmt: skip


# Rules that by their own description leave the noisiest level out, and those whose last time is not the cleanest.
BEGINS_LATER, ENDS_EARLIER = ("Leading", "Strided", "Listed", "Below"), ("Trailing", "Leading", "Listed", "Linspace")


def _grid_faults(schedule: Schedule, rule: Times, n: int) -> float:
    """How many of the laws a grid breaks."""
    times, name = rule(schedule, n), type(rule).__name__
    at = torch.tensor(times, dtype=torch.float64)
    broken = [not (at.diff() < 0).all() or not 0 <= times[-1] <= times[0] <= 1, len(times) > n + (name == "Final")]
    if name not in BEGINS_LATER and not (name == "Sections" and n == 1):
        broken.append(abs(times[0] - 1) > 1e-12)
    if name not in ENDS_EARLIER and len(times) > 1:
        broken.append(abs(times[-1] - (0 if getattr(rule, "data", False) else schedule.t_min)) > EXACT)
    if name in COORDINATES and 3 < n <= 100:  # more of them stand closer than float64 tells apart where t is steep
        gaps = COORDINATES[name](schedule, rule, at)[1:].diff()  # the first may stand at infinity
        broken.append(len(times) != n or float((gaps / gaps.mean() - 1).abs().max()) > UNEVEN)
    if name in TABLED and isinstance(schedule, Discrete):
        size = len(schedule)
        broken.append(list(times) != sorted({(e + 1) / size for e in TABLED[name](rule, size, n)}, reverse=True))
    return float(sum(broken))


# What is evenly spaced on the times of each rule, and the entries of each rule for a table: from their papers.
COORDINATES: dict[str, Callable[[Schedule, Any, Tensor], Tensor]] = {
    "Uniform": lambda schedule, rule, t: t,
    "LogSNR": lambda schedule, rule, t: schedule.log_snr(t),
    "Karras": lambda schedule, rule, t: (-schedule.log_snr(t) / (2 * rule.rho)).exp(),
    "Quadratic": lambda schedule, rule, t: t.sqrt(),
}
TABLED: dict[str, Callable[..., list[float]]] = {
    "Leading": lambda rule, size, n: [(size // (n + rule.spare)) * k + rule.offset for k in range(rule.spare, n + rule.spare)],
    "Trailing": lambda rule, size, n: [round(size - k * size / n) - 1 for k in range(n)],
}


def exact_laws(quick: bool) -> Cells:
    """The closed forms of the package against those written here; guidance against a mixture's own; scale 1 is off."""
    for schedule in schedules():
        ours, t = mixture(schedule), torch.linspace(0.3, 0.9, 9, dtype=torch.float64).repeat_interleave(20)
        x_t = 2 * Rng([0]).normal((len(t), 2), "states", dtype=torch.float64)[0]
        labelled = Mixture(schedule, ours.weights, ours.means, torch.diag_embed(ours.stds**2), classes=(0, 1, 1))
        error = labelled(x_t, t) - ours(x_t, t)
        yield Cell("error of the mixture", "Mixture", label(schedule), float(error.abs().max()), EXACT)
        single = Target(schedule, ours.weights[:1], ours.means[:1], ours.stds[:1])
        gaussian = Gaussian(schedule, ours.means[0], torch.diag(ours.stds[0] ** 2))
        error = gaussian(x_t, t) - single(x_t, t)
        yield Cell("error of the normal law", "Gaussian", label(schedule), float(error.abs().max()), EXACT)
        points = Target(schedule, torch.ones(3) / 3, ours.means, torch.full((3, 2), 1e-12))
        error = Empirical(schedule, ours.means)(x_t, t) - points(x_t, t)
        yield Cell("error of the data set", "Empirical", label(schedule), float(error.abs().max()), 1e-6)
        yield from _guidance(schedule, labelled, ours, x_t, t)


def _guidance(schedule: Schedule, denoiser: Mixture, ours: Target, x_t: Tensor, t: Tensor) -> Cells:
    label_of = torch.arange(len(t)) % 2
    first = Target(schedule, ours.weights[:1], ours.means[:1], ours.stds[:1])
    rest = Target(schedule, ours.weights[1:], ours.means[1:], ours.stds[1:])
    given = torch.where((label_of == 0)[:, None], first(x_t, t), rest(x_t, t))
    null = ours(x_t, t)
    for scale in (0.0, 1.0, 1.5, 7.5):
        found = Guided(denoiser, CFG(scale))(x_t, t, {"label": label_of})
        error = (found - null - scale * (given - null)).abs().max()
        where = f"{label(schedule)}, scale {scale:g}"
        yield Cell("error of null + scale (cond - null)", "CFG", where, float(error), 10 * EXACT)
        found = Guided(ours, Classifier(scale=scale, other=denoiser))(x_t, t, {"label": label_of})
        error = (found - null - scale * (given - null)).abs().max()
        yield Cell("error of p(x_t) p(label | x_t)^scale", "Classifier", where, float(error), 10 * EXACT)
    for rule in concrete(guidance_room, Guidance):
        parameters = inspect.signature(rule).parameters
        if "scale" in parameters and "measured" not in parameters:
            asked = {"other": denoiser} if "other" in parameters else {}
            off = Guided(denoiser, rule(scale=1.0, **asked))(x_t, t, {"label": label_of})
            error = (off - denoiser(x_t, t, {"label": label_of})).abs().max()
            yield Cell("change at scale 1", rule.__name__, label(schedule), float(error), 0.0)


def start_laws(quick: bool) -> Cells:
    """The prior has the law of x_t for unit data at the first time that is used, on any grid; the noise is fresh and normal."""
    for schedule, rule in itertools.product(schedules(quick), spacings()):
        yield attempt("error of the prior's std", label(rule), f"{label(schedule)}, 7 steps",
                      functools.partial(_prior_error, schedule, rule), MOMENTS)  # fmt: skip
    for schedule, t in itertools.product(schedules(), (0.7, 0.3)):  # walks may start anywhere
        yield Cell("error of the prior's std", "prior", f"{label(schedule)}, t = {t}", _prior_error_at(schedule, t), MOMENTS)
    for schedule in FEW[:2]:
        noises = _noises(schedule)
        moments = noises.flatten(1) @ noises.flatten(1).T / noises[0].numel()
        error = (moments.diagonal() - 1).abs().max()
        yield Cell("error of the noise's variance", "Walk.noise", label(schedule), float(error), 3 * MOMENTS)
        apart = moments - torch.diag(moments.diagonal())
        yield Cell("correlation of two steps' noise", "Walk.noise", label(schedule), float(apart.abs().max()), 4 * MOMENTS)
        between = (noises[:, 0::2] * noises[:, 1::2]).mean()
        yield Cell("correlation of two samples' noise", "Walk.noise", label(schedule), float(between.abs()), 2 * MOMENTS)


def _prior_error(schedule: Schedule, rule: Times) -> float:
    n = len(rule.listed) if isinstance(rule, Listed) else 7
    return _prior_error_at(schedule, rule(schedule, n)[0])


def _prior_error_at(schedule: Schedule, t: float) -> float:
    alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    drawn = prior(schedule, (DRAWS,), t, Rng(list(range(DRAWS))), torch.float64)
    return abs(float((drawn.square().mean() / (alpha**2 + sigma**2)).sqrt()) - 1)


def _noises(schedule: Schedule) -> Tensor:
    """The noise of each of some steps of one walk, (steps, B, D)."""
    times = Uniform()(schedule, 8)
    walk = Walk(normal(schedule), None, Rng(list(range(500))), times, None)
    like = torch.zeros(500, 32, dtype=torch.float64)
    return torch.stack([walk.noise(like, t, s) for t, s in itertools.pairwise(times)])


def chain_laws(quick: bool) -> Cells:
    """The ancestral sampler's variances where each is exact, however few the steps; DDIM's noise on data at a point."""
    for schedule in schedules():
        point = normal(schedule, (1e-9, 1e-9, 1e-9))
        flat = normal(schedule, (0.6, 0.6, 0.6))
        unit = normal(schedule, (1.0, 1.0, 1.0))
        alpha, sigma = schedule(torch.tensor([schedule.t_min, 0.5, 1.0], dtype=torch.float64))
        laws: list[tuple[Sampler, Target]] = [(s, point) for s in (Ancestral("small"), DDIM(0.0), DDIM(0.5), DDIM(1.0))]
        laws += [(Ancestral("analytic", _moments(flat)), flat)] * bool((alpha > 0).all())
        if torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha)):
            laws += [(Ancestral("large"), unit), (Ancestral("learned"), unit)]
        for sampler, target in laws:
            times = Given(tuple(Uniform()(schedule, 5)), final=True)
            found = spread_of(sampler, target, times) / target.law(times[-1])[1]
            name = f"Ancestral({sampler.variance})" if isinstance(sampler, Ancestral) else label(sampler)
            yield Cell("error of an exact law", name, f"{label(schedule)}, 5 times", float((found - 1).abs().max()), 1e-6)


def _moments(target: Target) -> tuple[tuple[float, float], ...]:
    """E|eps|^2 / D of the exact noise at each of five times."""
    times = sorted(Uniform()(target.schedule, 5))
    found = []
    for t in times:
        _, sigma = target.schedule(torch.tensor(t, dtype=torch.float64))
        found.append((t, float(sigma**2 / target.law(t)[1][0] ** 2)))
    return tuple(found)
