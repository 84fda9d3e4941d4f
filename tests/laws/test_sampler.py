"""Laws of every sampler: order, law of what is drawn, evaluations, steadiness, and independence of the batch."""

from __future__ import annotations

import inspect
import itertools
import math
from functools import cache

import pytest
import torch
from torch import Tensor

import unnoise.sampler as samplers
from unnoise.denoiser import Answer, Denoise, Gaussian, Mixture
from unnoise.sampler import (
    DDIM,
    DPM2,
    PNDM,
    Adaptive,
    Ancestral,
    AnnealedLangevin,
    Brownian,
    DPMpp2M,
    DPMpp2S,
    DPMpp3M,
    DPMppSDE,
    DPMSolver,
    Euler,
    EulerMaruyama,
    Heun,
    Langevin,
    Noise,
    PredictorCorrector,
    Renoise,
    Restart,
    Sampler,
    Singlestep,
    UniPC,
    encode,
    noise_moments,
)  # fmt: skip
from unnoise.schedule import EDM, VE, VP, Cosine, Flow, LinearBetas, Schedule, SubVP
from unnoise.tensor import Rng
from unnoise.times import Final, Given, LogSNR, Uniform

MEMBERS = [
    member
    for member in (getattr(samplers, name) for name in samplers.__all__)
    if inspect.isclass(member) and issubclass(member, Sampler) and not inspect.isabstract(member)
    if not {"measured", "picture"} & set(inspect.signature(member).parameters)  # those of test_inverse.py
]
VARIANTS = [
    DDIM(eta=1.0), Euler(along="t"), Euler(churn=10.0), Heun(along="t"), Heun(reach=0.5), Heun(churn=10.0), DPM2(eta=1.0),
    DPMpp2S(eta=1.0), DPMpp2M(eta=1.0), DPMpp2M(eta=0.5, rule="heun"), DPMpp2M(lower=True), DPMpp3M(eta=1.0), DPMSolver(1),
    DPMSolver(3, rule="heun"), DPMSolver(2, eta=1.0), Singlestep(1), Singlestep(2), Singlestep(3, "eps", "paper"), UniPC(1),
    UniPC(3), UniPC(3, "eps", "bh1"), PNDM("heun"), PNDM("runge_kutta"), samplers.DEIS(along="t"), samplers.DEIS(along="ratio"),
    EulerMaruyama(0.0), Ancestral("large"), Adaptive(2), PredictorCorrector(DDIM(), Langevin(rule="sigma")),
]  # fmt: skip
ALL: list[Sampler] = [*(member() for member in MEMBERS), *VARIANTS]
SCHEDULES: list[Schedule] = [VP(), SubVP(), VE(), EDM(), Cosine(), Flow(), LinearBetas(1000)]

every = pytest.mark.parametrize("sampler", ALL, ids=repr)


class Constant:
    """A denoiser that costs nothing and counts."""

    evaluations = 1

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.conds, self.calls = schedule, {}, 0

    def project(self, x: Tensor, cond: object = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: object, cond: object = None) -> Answer:
        self.calls += 1
        return Answer(x_t * 0.1)

    def __call__(self, x_t: Tensor, t: object, cond: object = None) -> Tensor:
        return self.answer(x_t, t).x0


class Scalar(Constant):
    """The exact denoiser of N(0, variance) in each value, and a quick one."""

    def __init__(self, schedule: Schedule, variance: float) -> None:
        super().__init__(schedule)
        self.variance = variance

    def answer(self, x_t: Tensor, t: object, cond: object = None) -> Answer:
        alpha, sigma = (float(part) for part in self.schedule(torch.tensor(t, dtype=torch.float64)))
        return Answer(x_t * (alpha * self.variance / (alpha**2 * self.variance + sigma**2)))


class Wrong:
    """Another denoiser, off by a number."""

    evaluations = 1

    def __init__(self, denoiser: Denoise, by: float) -> None:
        self.denoiser, self.by, self.schedule, self.conds = denoiser, by, denoiser.schedule, denoiser.conds

    def project(self, x: Tensor, cond: object = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: float | Tensor, cond: object = None) -> Answer:
        return Answer(self.denoiser(x_t, t) + self.by)

    def __call__(self, x_t: Tensor, t: float | Tensor, cond: object = None) -> Tensor:
        return self.answer(x_t, t).x0


def two_modes(schedule: Schedule) -> Mixture:
    means = torch.tensor([[1.0, -0.5], [-0.6, 0.4]], dtype=torch.float64)
    covariances = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.05], [-0.05, 0.1]]], dtype=torch.float64)
    return Mixture(schedule, torch.tensor([0.3, 0.7]), means, covariances)


def narrow(schedule: Schedule) -> Mixture:
    """Two modes so tight that what is wrong by d at every level adds up to a few d only."""
    spread = torch.eye(2, dtype=torch.float64).expand(2, 2, 2) * 0.02**2
    return Mixture(schedule, torch.tensor([0.3, 0.7]), torch.tensor([[1.0, -0.5], [-0.6, 0.4]], dtype=torch.float64), spread)


def noisy(schedule: Schedule, rows: int) -> Tensor:
    x = torch.randn(rows, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x * float(schedule(torch.ones((), dtype=torch.float64))[1])


def usual(sampler: Sampler, n: int) -> Given:
    """n times; for a sampler with steps of its own the ends alone."""
    return LogSNR()(VP(), 2 if isinstance(sampler, Adaptive) else n)


def silent(like: Tensor, t: float, s: float) -> Tensor:
    return torch.zeros_like(like)


# Order


@cache
def fine(schedule: Schedule) -> Tensor:
    return UniPC(3)(two_modes(schedule), noisy(schedule, 6), LogSNR()(schedule, 1000))


DETERMINISTIC = [s for s in ALL if not s.stochastic and not isinstance(s, Adaptive) and not getattr(s, "lower", False)]


@pytest.mark.parametrize("sampler", [*DETERMINISTIC, UniPC(3, lower=False)], ids=repr)
def test_order(sampler: Sampler) -> None:
    schedule = VP()
    denoiser, x = two_modes(schedule), noisy(schedule, 6)
    errors = [(sampler(denoiser, x, LogSNR()(schedule, n)) - fine(schedule)).norm().item() for n in (80, 160)]
    assert math.log2(errors[0] / errors[1]) > sampler.order - 0.35, errors


@pytest.mark.parametrize("sampler", [s for s in DETERMINISTIC if s.order > 1 and not isinstance(s, PNDM)], ids=repr)
def test_order_from_no_signal(sampler: Sampler) -> None:
    """Of second order at least though the first step, from alpha = 0, has none of the past and an infinite h."""
    schedule = Flow()
    denoiser, x = two_modes(schedule), noisy(schedule, 6)
    errors = [(sampler(denoiser, x, LogSNR()(schedule, n)) - fine(schedule)).norm().item() for n in (100, 200)]
    assert math.log2(errors[0] / errors[1]) > min(sampler.order, 2) - 0.35, errors


@pytest.mark.parametrize("order", [2, 3])
def test_adaptive_keeps_its_tolerance(order: int) -> None:
    schedule = VP()
    denoiser, x = two_modes(schedule), noisy(schedule, 6)
    errors, counts = [], []
    for tolerance in (1e-1, 1e-2, 1e-3):
        *_, last = Adaptive(order, tolerance, tolerance).walk(denoiser, x, (1.0, schedule.t_min))
        errors.append((last.x - fine(schedule)).abs().max().item())
        counts.append(last.nfe)
    assert all(error < 10 * tolerance for error, tolerance in zip(errors, (1e-1, 1e-2, 1e-3), strict=True)), errors
    assert counts[0] < counts[1] < counts[2]


def test_encode_undoes_the_walk() -> None:
    schedule = VP()
    denoiser, x, times = two_modes(schedule), noisy(schedule, 4), LogSNR()(schedule, 200)
    for sampler, far in ((DDIM(), 0.05), (Heun(), 1e-3), (DPMpp2M(), 1e-3), (Adaptive(3, 1e-3, 1e-3), 0.02)):
        if isinstance(sampler, Adaptive):
            times = Given((1.0, schedule.t_min))
        state = sampler(denoiser, x, Given(times.values, final=True))
        assert (encode(sampler, denoiser, state, times) - x).abs().max() < far
    with pytest.raises(ValueError, match="draws noise"):
        encode(DDIM(eta=1.0), denoiser, x, times)


# The law of what is drawn. For normal data every sampler without norms is linear in its start and its noises: row i of a batch
# gets the i-th of them as 1 and all others as 0, and the covariance of the end is the sum over rows, exactly.


def covariance(sampler: Sampler, schedule: Schedule, data: Tensor, n: int) -> Tensor:
    size = len(data)
    exact = Scalar(schedule, float(data)) if size == 1 else Gaussian(schedule, torch.zeros(size), data)
    denoiser, times = exact, LogSNR()(schedule, n)
    draws = 0

    def count(like: Tensor, t: float, s: float) -> Tensor:
        nonlocal draws
        draws += 1
        return torch.zeros_like(like)

    sampler(denoiser, torch.zeros(1, size, dtype=torch.float64), times, rng=count)
    alpha, sigma = schedule(torch.tensor(times[0], dtype=torch.float64))
    rows = torch.zeros((draws + 1) * size, size, dtype=torch.float64)
    rows[:size] = torch.linalg.cholesky(alpha**2 * data + sigma**2 * torch.eye(size, dtype=torch.float64)).T
    at = 0

    def one(like: Tensor, t: float, s: float) -> Tensor:
        nonlocal at
        at += size
        noise = torch.zeros_like(like)
        noise[at : at + size] = torch.eye(size, dtype=torch.float64)
        return noise

    end = sampler(denoiser, rows, times, rng=one)
    return end.T @ end


LINEAR = [s for s in ALL if s.order > 0 and not isinstance(s, (Adaptive, PredictorCorrector))] + [Restart()]


@pytest.mark.parametrize("sampler", LINEAR, ids=repr)
def test_standard_deviation_of_normal_data(sampler: Sampler) -> None:
    """Within 1 % at 1,000 steps; and to the law of E[x | x_t] at the last time, where a walk ends, with the sampler's order."""
    schedule, data = VP(), torch.tensor(0.04, dtype=torch.float64)
    alpha, sigma = schedule(torch.tensor(schedule.t_min, dtype=torch.float64))
    limit = (alpha * data) ** 2 / (alpha**2 * data + sigma**2)
    errors = []
    for n in (250, 1000):
        found = covariance(sampler, schedule, data.reshape(1, 1), n).squeeze()
        errors.append(float((found / limit).sqrt().sub(1).abs()))
    assert abs((found / data).sqrt() - 1) <= 0.01, found
    assert sampler.order == 0 or errors[1] < 1e-4 or errors[0] / errors[1] > 4 ** (sampler.order - 0.3), errors


@pytest.mark.parametrize("sampler", [s for s in LINEAR if s.stochastic], ids=repr)
def test_covariance_of_correlated_data(sampler: Sampler) -> None:
    data = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    found = covariance(sampler, Cosine(), data, 200)
    assert (found - data).norm() / data.norm() < 0.1, found


@pytest.mark.parametrize("sampler", [DDIM(eta=1.0), DPMpp2M(eta=1.0), PredictorCorrector(DDIM(), Langevin(snr=0.05))], ids=repr)
def test_drawn_moments(sampler: Sampler) -> None:
    """With the library's own noise, and the corrector's norms, within three standard errors and the walk's own bias."""
    rows, schedule = 150, VP()
    mean, data = torch.tensor([1.0, -1.0] * 64), torch.eye(128) * 0.5
    rng = Rng(range(rows))
    x = samplers.prior(schedule, (128,), 1.0, rng, torch.float64)
    end = sampler(Gaussian(schedule, mean, data), x, LogSNR()(schedule, 150), rng=rng)
    assert (end.mean(0) - mean).abs().max() < 4.5 * (0.5 / rows) ** 0.5 + 0.02
    assert abs(end.var(0).mean() / 0.5 - 1) < 0.08


@pytest.mark.parametrize("sampler", [Renoise(), AnnealedLangevin()], ids=repr)
def test_samplers_of_order_zero_stay_biased(sampler: Sampler) -> None:
    """Renoise is too narrow, annealed Langevin a little too wide, and more steps do not mend it."""
    data = torch.eye(1, dtype=torch.float64)
    coarse, fine = (float(covariance(sampler, VP(), data, n)) for n in (100, 200))
    assert (coarse < 0.9 and fine < 0.9) if isinstance(sampler, Renoise) else (1 < fine < 1.2 and 1 < coarse < 1.3)


def test_analytic_variance_is_exact_for_normal_data() -> None:
    schedule, variance = VP(), 0.3
    times = LogSNR()(schedule, 8)
    alpha, sigma = schedule(torch.tensor(list(times)[::-1], dtype=torch.float64))
    moments = sigma**2 / (alpha**2 * variance + sigma**2)
    exact = Ancestral("analytic", tuple(zip(list(times)[::-1], moments.tolist(), strict=True)))
    data = torch.eye(1, dtype=torch.float64) * variance
    last = variance**2 * alpha[0] ** 2 / (alpha[0] ** 2 * variance + sigma[0] ** 2)  # of E[x | x_t] at the last time
    assert float(covariance(exact, schedule, data, 8)) == pytest.approx(float(last), rel=1e-9)

    rng = Rng(range(4000))
    x = rng.normal((1,), "data", dtype=torch.float64) * variance**0.5
    found = noise_moments(Gaussian(schedule, torch.zeros(1), data), x, times, rng)
    torch.testing.assert_close(torch.tensor([m for _, m in found]), moments.float(), rtol=0.1, atol=0.0)


def test_learned_variance_and_score() -> None:
    schedule, x, times = VP(), noisy(VP(), 3), LogSNR()(VP(), 5)

    class Learned(Wrong):
        field: Tensor | None = None
        push: Tensor | None = None

        def answer(self, x_t: Tensor, t: float | Tensor, cond: object = None) -> Answer:
            return Answer(self.denoiser(x_t, t), variance=self.field, score=self.push)

    def one(like: Tensor, t: float, s: float) -> Tensor:
        return torch.ones_like(like)

    denoiser = Learned(two_modes(schedule), 0.0)
    for share, variance in ((-1.0, "small"), (1.0, "large")):
        denoiser.field = torch.full_like(x, share)
        learned = Ancestral("learned")(denoiser, x, times, rng=one)
        torch.testing.assert_close(learned, Ancestral(variance)(two_modes(schedule), x, times, rng=one))  # type: ignore[arg-type]
    denoiser.push = torch.ones_like(x)
    pair = times[:2]
    std = Ancestral("large").plan(schedule, pair)[0][2]
    states = [next(Ancestral("large").walk(d, x, pair, rng=one)).x for d in (denoiser, two_modes(schedule))]
    torch.testing.assert_close(states[0] - states[1], torch.full_like(x, std**2))
    with pytest.raises(ValueError, match="learned"):
        Ancestral("learned")(two_modes(schedule), x, times, rng=one)


# Evaluations, steadiness, batches


@every
def test_evaluations(sampler: Sampler) -> None:
    schedule = VP()
    for n in (*range(1, 61), 100, 333, 600, 999, 1000) if type(sampler)() == sampler else (1, 2, 3, 4, 5, 25, 100):
        denoiser = Constant(schedule)
        *_, last = sampler.walk(denoiser, torch.ones(1, 2), LogSNR()(schedule, n), rng=silent)
        assert last.x.isfinite().all(), n
        assert last.nfe == denoiser.calls
        assert sampler.evaluations(n) in (None, last.nfe), n
        if sampler.evaluations(n) is None and n > 2:
            break  # one interval solved to a tolerance is like another


@every
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_finite_on_every_schedule(sampler: Sampler, schedule: Schedule) -> None:
    """Or refused with a reason before the network is asked."""
    for n in (1, 2) if isinstance(sampler, Adaptive) else (1, 2, 7):
        for times in (Uniform()(schedule, n), Final(LogSNR())(schedule, n)):
            denoiser = Constant(schedule)
            try:
                end = sampler(denoiser, noisy(schedule, 1), times, rng=silent)
            except ValueError as error:
                assert len(str(error)) > 20 and denoiser.calls == 0
            else:
                assert end.isfinite().all()
                assert getattr(times, "final", False) or sampler.evaluations(n) in (None, denoiser.calls)


@every
def test_a_wrong_oracle_ends_near(sampler: Sampler) -> None:
    schedule, by = VP(), 0.01
    denoiser, x, times = narrow(schedule), noisy(schedule, 6), usual(sampler, 30)
    right, wrong = (sampler(d, x, times, rng=silent) for d in (denoiser, Wrong(denoiser, by)))
    assert (right - wrong).abs().max() < 4 * by


@every
def test_an_image_does_not_depend_on_its_batch(sampler: Sampler) -> None:
    schedule = VP()
    denoiser, x, times = two_modes(schedule), noisy(schedule, 3), usual(sampler, 9)
    together = sampler(denoiser, x, times, rng=Rng([5, 6, 7]))
    alone = sampler(denoiser, x[1:2], times, rng=Rng([6]))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-9, atol=1e-9)


@every
def test_the_start_is_left_as_it_is(sampler: Sampler) -> None:
    x = noisy(VP(), 2)
    before = x.clone()
    moments = list(sampler.walk(two_modes(VP()), x, LogSNR()(VP(), 5), rng=Rng([1, 2])))
    states = [moment.x.clone() for moment in moments]
    assert torch.equal(x, before)
    assert [moment.k for moment in moments] == list(range(5))
    assert not sampler.stochastic or not torch.equal(sampler(two_modes(VP()), x, LogSNR()(VP(), 5), rng=Rng([3, 4])), states[-1])


def test_noise_needs_an_rng() -> None:
    with pytest.raises(ValueError, match="rng"):
        DDIM(eta=1.0)(two_modes(VP()), noisy(VP(), 1), LogSNR()(VP(), 3))


# The Brownian path

like = torch.zeros(2000, 3, dtype=torch.float64)


def increments(schedule: Schedule, times: tuple[float, ...], rows: int = 2000) -> tuple[Tensor, Tensor]:
    """W_s - W_t of each interval, and its standard deviation on the clock."""
    noise: Noise = Brownian(Rng(range(rows)), schedule, times)
    clock = schedule.log_snr(torch.tensor(times, dtype=torch.float64)).exp()
    spread = (clock[1:] - clock[:-1]).sqrt()
    drawn = torch.stack([noise(like[:rows], t, s) for t, s in itertools.pairwise(times)])
    return drawn * spread[:, None, None], spread


@pytest.mark.parametrize("n", [3, 12, 60])
@pytest.mark.parametrize("schedule", [VP(), Flow(), EDM()], ids=repr)
def test_increments_are_independent_and_of_unit_variance(schedule: Schedule, n: int) -> None:
    steps, spread = increments(schedule, LogSNR()(schedule, n).values)
    noise = (steps / spread[:, None, None]).flatten(1)
    products = noise @ noise.T / noise.shape[1]
    assert (products - torch.eye(n - 1)).abs().max() < 5.5 * (2 / noise.shape[1]) ** 0.5
    assert noise.mean(1).abs().max() < 5 / noise.shape[1] ** 0.5


def test_increments_add_up() -> None:
    """Exactly where the ends are knots (whole lam), whatever times lie between."""
    schedule = VE(math.exp(-3.0), math.exp(3.0))  # lam = 3 - 6 t
    places = torch.linspace(1, 0, 7, dtype=torch.float64)
    whole, _ = increments(schedule, tuple(places[::3].tolist()))
    finer, _ = increments(schedule, tuple(places.tolist()))
    finest, _ = increments(schedule, tuple(torch.linspace(1, 0, 25, dtype=torch.float64).tolist()))
    torch.testing.assert_close(whole[0], finer[:3].sum(0))
    torch.testing.assert_close(whole[1], finer[3:].sum(0))
    torch.testing.assert_close(whole[0], finest[:12].sum(0))


@pytest.mark.parametrize("schedule", [VP(), EDM(), Flow()], ids=repr)
def test_the_picture_keeps_its_composition(schedule: Schedule) -> None:
    denoiser, x = two_modes(schedule), noisy(schedule, 300)
    ends = [DPMpp2M(eta=1.0)(denoiser, x, LogSNR()(schedule, n), rng=Rng(range(300))) for n in (25, 50, 57)]
    ends = [end - end.mean(0) for end in ends]
    for other in ends[1:]:
        assert (ends[0] * other).sum() / ends[0].norm() / other.norm() > 0.8


def test_noise_does_not_depend_on_what_is_drawn_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    times = LogSNR()(VP(), 12).values
    ahead, _ = increments(VP(), times, 5)
    monkeypatch.setattr("unnoise.sampler.brownian.CHUNK", 1)
    assert torch.equal(ahead, increments(VP(), times, 5)[0])


def test_noise_from_no_signal_and_to_no_noise() -> None:
    """The clock begins at 0 where alpha = 0, and a last interval to sigma = 0, where it is infinite, has noise of its own."""
    schedule, times = Flow(), Given((1.0, 0.5, 0.25, 0.0), final=True)
    end = DDIM(eta=1.0)(Constant(schedule), torch.ones(3, 3), times, rng=Rng([1, 2, 3]))
    assert end.isfinite().all()
    noise = Brownian(Rng(range(2000)), schedule, times)
    drawn = torch.stack([noise(like, t, s).flatten() for t, s in itertools.pairwise(times)])
    assert (drawn @ drawn.T / drawn.shape[1] - torch.eye(3)).abs().max() < 0.1


def test_noise_after_a_leap_up_is_new() -> None:
    noise = Brownian(Rng([1]), VP())
    one = torch.zeros(1, 2000)
    first, up, again = noise(one, 0.8, 0.5), noise(one, 0.5, 0.8), noise(one, 0.8, 0.5)
    stirs = noise(one, 0.5, 0.5), noise(one, 0.5, 0.5)
    drawn = torch.cat([first, up, again, *stirs])
    assert (drawn @ drawn.T / 2000 - torch.eye(5)).abs().max() < 0.15


# Options


@pytest.mark.parametrize(
    "make",
    [
        lambda: DDIM(eta=1.5), lambda: DPMpp2M(eta=-0.1), lambda: DPMSolver(4), lambda: UniPC(0), lambda: Singlestep(4),
        lambda: PNDM("none"), lambda: Heun(reach=0.0), lambda: Ancestral("tiny"), lambda: Ancestral("analytic"),
        lambda: samplers.DEIS(9), lambda: Adaptive(5), lambda: samplers.Restart(low=2.0),
    ],
)  # fmt: skip
def test_options_are_checked(make: object) -> None:
    with pytest.raises(ValueError, match=r"given|come together"):
        make()  # type: ignore[operator]


def test_published_parabola_is_of_second_order_only() -> None:
    """The reference code of DPM-Solver++(3M) has half the second derivative."""
    schedule = VP()
    denoiser, x = two_modes(schedule), noisy(schedule, 6)
    rates = {}
    for halved in (False, True):
        sampler = DPMpp3M(halved=halved)
        errors = [(sampler(denoiser, x, LogSNR()(schedule, n)) - fine(schedule)).norm().item() for n in (160, 320)]
        rates[halved] = math.log2(errors[0] / errors[1])
    assert rates[False] > 2.7 and rates[True] < 2.4, rates


def test_members_are_covered() -> None:
    assert len(MEMBERS) >= 20 and DPMppSDE in MEMBERS
