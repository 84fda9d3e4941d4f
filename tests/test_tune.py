"""Fitted walks: what a linear walk is, that fitting helps and is the same again, and that a run keeps and uses what was found."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.test_model import stirred
from unnoise.cli import run as entry
from unnoise.denoiser import Mixture
from unnoise.guidance import CFG, Guided
from unnoise.model import load
from unnoise.sampler import DDIM, DEIS, LMS, PNDM, DPMpp2M, DPMpp3M, DPMSolver, Fitted, FlowAdams, Sampler, UniPC
from unnoise.schedule import EDM, VP, Cosine, Flow, LinearBetas, Schedule
from unnoise.task.sample import Order, reproduce, sample
from unnoise.task.tune import Search, best, solved, tune
from unnoise.task.tune import linear as of_linear
from unnoise.task.tune.course import Course, regressed
from unnoise.task.tune.fit import Knots, _nearer
from unnoise.task.tune.linear import Plan, distance, end, errors, grid, linear, shares
from unnoise.tensor import Rng
from unnoise.times import Auto, FittedWalk, LogSNR
from unnoise.times import Fitted as FittedTimes

LITTLE = Search(noises=16, held_out=8, batch=8, steps=8, fine=24)
SCHEDULES: list[Schedule] = [VP(), EDM(), Cosine(), Flow(), LinearBetas(100)]


def modes(schedule: Schedule) -> Mixture:
    means = torch.tensor([[1.2, -0.5], [-0.8, 0.9], [-0.4, -1.1]], dtype=torch.float64)
    spread = torch.tensor([[0.09, 0.03], [0.03, 0.04]], dtype=torch.float64).expand(3, 2, 2)
    return Mixture(schedule, torch.ones(3), means, spread, classes=[0, 1, 1])


def noise(n: int, seed: int = 0) -> Tensor:
    return Rng(range(seed, seed + n)).normal((2,), "test", dtype=torch.float64)


def started(schedule: Schedule, noise: Tensor, t: float) -> Tensor:
    alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    return noise * (alpha**2 + sigma**2).sqrt()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize(
    "sampler",
    [DDIM(), DPMpp2M(), DPMpp3M(), DPMSolver(2), DEIS(), LMS(), UniPC(3), UniPC(2, "eps"), PNDM(), FlowAdams(4)],
    ids=repr,
)
def test_one_evaluation_a_step_is_a_linear_walk(sampler: Sampler, schedule: Schedule) -> None:
    """Its weights, read off along unit vectors, lead where it leads; and `sampler.Fitted` follows them."""
    if isinstance(sampler, PNDM) and isinstance(schedule, Flow):
        pytest.skip("refuses a start without signal")
    denoiser, x = modes(schedule), noise(5)
    (last,) = schedule.time(schedule.log_snr(torch.tensor([schedule.t_min], dtype=torch.float64)) - 0.1).tolist()
    times = [*LogSNR()(schedule, 7)[:-1], last]
    plan = linear(sampler, schedule, times)
    there = sampler(denoiser, started(schedule, x, 1.0), times)
    assert torch.allclose(end(denoiser, x, plan.t, plan.weights), there, rtol=1e-6, atol=1e-7)
    walk = plan.walk(schedule)
    assert torch.allclose(Fitted()(denoiser, started(schedule, x, 1.0), walk), there, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_auto_spaces_the_turns_alike_whatever_the_schedule(schedule: Schedule) -> None:
    """Where signal and noise are of like size its times have the same log-SNRs on every schedule that goes far on both sides."""
    for n in (1, 2, 5, 60):
        times = Auto()(schedule, n)
        assert len(times) == n and times[0] == 1 and (n == 1 or times[-1] == schedule.t_min)
    lam = schedule.log_snr(torch.tensor(Auto()(schedule, 60).values, dtype=torch.float64)) / 2
    assert 0.55 < float(((lam > -2) & (lam < 2)).double().mean()) < 0.85


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_flow_adams_has_the_order_that_its_steps_allow(schedule: Schedule) -> None:
    for n, most in ((5, 2), (10, 3), (60, 4)):
        orders = [1 + len(terms.older) for terms in FlowAdams().plan(schedule, Auto()(schedule, n))]
        assert max(orders) == most and orders[0] == 1
        assert max(1 + len(terms.older) for terms in FlowAdams(2).plan(schedule, Auto()(schedule, n))) == 2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_grid_has_walks_with_and_without_an_evaluation_at_the_end(schedule: Schedule) -> None:
    plans = list(grid(schedule, 6))
    lam = schedule.log_snr(torch.tensor(schedule.t_min, dtype=torch.float64)) / 2
    left: dict[str, list[float]] = {"closed": [], "open": []}
    for plan in plans:
        assert len(plan.t) == 6 and plan.t[0] == 1 and torch.isfinite(plan.weights).all()
        left[plan.name.partition(" on ")[2].split()[0]].append(float(lam - schedule.log_snr(plan.t[-1]) / 2))
    assert max(left["closed"]) < 0.01 < 0.1 < min(left["open"]) and len(left["closed"]) == len(left["open"])


def test_fitted_leaves_other_times_to_another() -> None:
    denoiser, x, times = modes(VP()), noise(3), LogSNR()(VP(), 6)
    assert torch.equal(Fitted(DPMpp2M())(denoiser, x, times), DPMpp2M()(denoiser, x, times))


def test_a_fitted_walk_takes_as_many_evaluations_as_steps() -> None:
    plan = linear(FlowAdams(), VP(), [1.0, 0.6, 0.3, 0.1])
    moments = list(Fitted().walk(modes(VP()), noise(2), plan.walk(VP())))
    assert [moment.nfe for moment in moments] == [1, 2, 3, 4]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_knots_begin_with_the_plan_and_have_its_gradient(schedule: Schedule) -> None:
    plan = next(plan for plan in grid(schedule, 5) if plan.name.startswith("FlowAdams"))
    knots = Knots(schedule, plan, memory=4)
    t, weights = knots()
    assert torch.allclose(t, plan.t, atol=0.02) and torch.allclose(weights, plan.weights, atol=0.05)
    denoiser, x = modes(schedule), noise(4)

    def loss() -> Tensor:
        return end(denoiser, x, *knots()).square().sum()

    loss().backward()
    step, k = 1e-5, 2
    assert knots.logits.grad is not None
    with torch.no_grad():
        knots.logits[k] += step
        above = loss()
        knots.logits[k] -= 2 * step
        slope = (above - loss()) / (2 * step)
    assert float(knots.logits.grad[k]) == pytest.approx(float(slope), rel=2e-3, abs=1e-4)


def test_gradients_of_large_samples_are_made_again_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = next(grid(VP(), 4))
    kept, again = (Knots(VP(), plan, memory=4) for _ in range(2))
    end(modes(VP()), noise(3), *kept()).square().sum().backward()
    monkeypatch.setattr(of_linear, "LARGE", 1)
    end(modes(VP()), noise(3), *again()).square().sum().backward()
    assert kept.logits.grad is not None and again.logits.grad is not None
    assert torch.allclose(kept.logits.grad, again.logits.grad)


def test_a_search_is_made_smaller_for_a_slow_network_but_not_below_what_a_fit_needs() -> None:
    usual, budgets = Search(), (6, 8, 10)
    assert usual.within(2 * usual.cost(budgets), budgets) == usual
    half = usual.within(usual.cost(budgets) / 2, budgets)
    assert half.cost(budgets) == pytest.approx(usual.cost(budgets) / 2, rel=0.2)
    least = usual.within(1.0, budgets)
    assert (least.noises, least.held_out, least.batch, least.steps) == (48, 24, 8, 30)


@pytest.mark.parametrize("schedule", [VP(), Cosine()], ids=repr)
def test_fitting_is_never_worse_helps_and_is_the_same_again(schedule: Schedule) -> None:
    denoiser = modes(schedule)
    data, judge, fresh = (solved(denoiser, noise(n, seed), {}, 64) for n, seed in ((48, 0), (32, 100), (64, 200)))
    search = replace(LITTLE, batch=24, steps=40)
    found = best(denoiser, 4, data, judge, search)
    assert found.error <= found.untuned
    usual = linear(FlowAdams(), schedule, [*Auto()(schedule, 4)[:-1], schedule.t_min + 1e-3])
    weights = torch.zeros(4, 4, dtype=torch.float64)
    for k, row in enumerate(found.walk.weights):
        weights[k, : len(row)] = torch.tensor(row)
    tuned = Plan(torch.tensor(found.walk[:-1]), weights)
    assert errors(denoiser, fresh, tuned).mean() < 0.8 * errors(denoiser, fresh, usual).mean()
    assert best(denoiser, 4, data, judge, search) == found


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_course_is_the_way_of_the_fine_solve(schedule: Schedule) -> None:
    """From the noise to the end; between its knots a polynomial through them is what a solve finds that stops there."""
    course = solved(modes(schedule), noise(4), {}, 128, batch=3)
    assert torch.equal(course.y[-1], course.end) and float(course.u[-1]) == 0 and bool((course.u.diff() < 0).all())
    start = started(schedule, noise(4), 1.0) / sum(schedule(torch.tensor(1.0, dtype=torch.float64)))
    assert torch.allclose(course.y[0], start)
    thin = replace(course, u=course.u[::2], y=course.y[::2])
    assert torch.allclose(thin.at(float(course.u[61])), course.y[61], atol=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_least_squares_lead_a_walk_back_onto_its_course(schedule: Schedule) -> None:
    denoiser = modes(schedule)
    data, fresh = (solved(denoiser, noise(64, seed), {}, 128) for seed in (0, 200))
    for plan in itertools.islice(grid(schedule, 8), 2):
        led = regressed(denoiser, data, plan, 4)
        assert torch.equal(led.t, plan.t) and errors(denoiser, fresh, led).mean() < 0.9 * errors(denoiser, fresh, plan).mean()


def test_what_is_on_its_course_stays_as_it_is() -> None:
    """Least squares have nothing to mend where the walk is its own fine solve."""
    plan = next(grid(VP(), 6))
    ways: list[Tensor] = []

    def seen(k: int, y: Tensor, past: list[Tensor], row: Tensor) -> Tensor:
        ways.append(y)
        return row

    far = end(modes(VP()), noise(9), plan.t, plan.weights, None, seen)
    data = Course(noise(9), {}, far, shares(VP(), plan.t), torch.stack([*ways, far]))
    assert torch.allclose(regressed(modes(VP()), data, plan, 4).weights, plan.weights, atol=1e-8)


@pytest.mark.parametrize(("tail", "kept"), [(1.0, True), (30.0, False)])
def test_a_fit_is_kept_if_nearer_in_the_mean_and_surely_so(tail: float, kept: bool) -> None:
    other = Rng(0).uniform((200,), "test")[0] + 1
    far = 0.9 * other
    far[0] *= tail
    assert _nearer(far, other) is kept
    assert not _nearer(other[torch.arange(200).roll(1)] - 1e-3, other), "nearer, though not surely"


def test_conditions_and_guidance_are_fitted_under() -> None:
    guided = Guided(modes(VP()), CFG(2.0))
    cond = {"label": torch.tensor([0, 1] * 8)}
    data = solved(guided, noise(16), cond, 64)
    assert float(distance(data.end, solved(modes(VP()), noise(16), cond, 64).end).mean()) > 0.05
    found = best(guided, 3, data, data, LITTLE)
    assert len(found.walk) == 4 and found.error <= found.untuned


def test_a_run_keeps_its_walks_and_samples_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    stirred("digits").save(run)
    before = load(run).sample(2, steps=5, seed=7)
    untuned = load(run).sample(2, steps=3, seed=7)
    other = load(run).sample(2, steps=3, seed=7, sampler=DDIM())
    lines: list[str] = []
    tune(run, [3], search=LITTLE, say=lines.append)
    assert len(lines) == 1 and "3 steps" in lines[0]
    tune(run, [2], search=LITTLE, minutes=1e6, say=lines.append)
    assert "minutes: 16 noises" in lines[1]
    monkeypatch.setattr(sys, "argv", ["unnoise", "tune", str(run), "--nfe", "4", "--noises", "8", "--rounds", "4"])
    with pytest.raises(SystemExit) as left:
        entry()
    assert not left.value.code
    model = load(run)
    assert isinstance(model.sampler, Fitted) and isinstance(model.times, FittedTimes)
    schedule = model.denoiser.schedule
    assert all(isinstance(model.times(schedule, n), FittedWalk) for n in (3, 4))
    assert not torch.equal(model.sample(2, steps=3, seed=7), untuned)
    assert torch.equal(model.sample(2, steps=3, seed=7, sampler=model.sampler.otherwise), untuned)
    assert torch.equal(model.sample(2, steps=3, seed=7, times=model.times.otherwise), untuned)
    assert torch.equal(load(run, overrides=["sampler=DDIM"]).sample(2, steps=3, seed=7), other), "times are their sampler's alone"
    assert torch.equal(model.sample(2, steps=5, seed=7), before), "steps that nothing was fitted for stay as they were"

    (made, _) = sample(run, Order([7], overrides=["model.Defaults.steps=3"], device="cpu"), tmp_path / "out")
    assert reproduce(made, run)[1]
    assert "Fitted" in json.dumps(load(run).recipe.resolved().sections["times"])


@pytest.mark.parametrize("text", ["", "8,x", "0"])
def test_bad_numbers_of_steps_are_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: object) -> None:
    monkeypatch.setattr(sys, "argv", ["unnoise", "tune", str(tmp_path), "--nfe", text])
    with pytest.raises(SystemExit) as left:
        entry()
    assert left.value.code == 2
