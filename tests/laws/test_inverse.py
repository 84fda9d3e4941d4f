"""Laws of the methods for inverse problems: exact where they claim it, biased where they say so, steady everywhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import unnoise.guidance as guidances
import unnoise.sampler as samplers
from unnoise.denoiser import Answer, Denoise, Gaussian, Mixture
from unnoise.guidance import MMPS, Guided, PiGDM
from unnoise.operator import (
    JPEG,
    Clip,
    Crop,
    Downsample,
    Fourier,
    GaussianBlur,
    Gray,
    Identity,
    Mask,
    Matrix,
    Measurement,
    Operator,
    Quantize,
    Spectrum,
)
from unnoise.sampler import (
    DDIM,
    DDNM,
    DDRM,
    DPS,
    ILVR,
    DPMpp2M,
    Heun,
    Langevin,
    RePaint,
    Replacement,
    ReplacementPC,
    Sampler,
    SDEdit,
    SplitGibbs,
    Twisted,
    UniPC,
)
from unnoise.schedule import EDM, VE, VP, Cosine, Flow, LinearBetas, Schedule
from unnoise.tensor import Rng
from unnoise.times import Auto, Below, Final, LogSNR, Times, Uniform

ROW = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
AUTO = Auto()
Y = torch.tensor([[0.7]], dtype=torch.float64)


def mixture(schedule: Schedule) -> Mixture:
    means = torch.tensor([[1.5, 1.0], [-1.5, 0.5], [0.2, -1.5]])
    spread = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.2, 0.0], [0.0, 0.2]], [[0.25, -0.1], [-0.1, 0.3]]])
    return Mixture(schedule, torch.tensor([0.3, 0.3, 0.4]), means, spread)


def normal(schedule: Schedule) -> Gaussian:
    return Gaussian(schedule, torch.tensor([0.5, -0.5]), torch.tensor([[1.0, 0.6], [0.6, 0.7]]))


def law(of: Mixture) -> tuple[Tensor, Tensor]:
    mean = of.weights @ of.means
    off = of.means - mean
    return mean, torch.einsum("k,kde->de", of.weights, of.covariances + off[:, :, None] * off[:, None])


def drawn(sampler: Sampler, denoiser: Denoise, rows: int, n: int, rule: Times = AUTO) -> Tensor:
    rng = Rng(range(rows))
    x = samplers.prior(denoiser.schedule, (2,), 1.0, rng, torch.float64)
    return sampler(denoiser, x, rule(denoiser.schedule, n), rng=rng)


def errors(x: Tensor, of: Mixture) -> tuple[float, float]:
    """Of the mean, in standard deviations, and of the covariance, relative."""
    mean, covariance = law(of)
    return float((x.mean(0) - mean).norm() / covariance.trace().sqrt()), float(
        (torch.cov(x.T) - covariance).norm() / covariance.norm()
    )


class Plain(Denoise):
    """A denoiser of pictures that costs nothing and counts its evaluations: that of N(0, I / 4)."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.conds, self.calls = schedule, {}, 0

    def project(self, x: Tensor, cond: object = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: object, cond: object = None) -> Answer:
        self.calls += 1
        alpha, sigma = (float(part) for part in self.schedule(torch.tensor(t, dtype=torch.float64)))
        return Answer(x_t * (alpha / 4 / (alpha**2 / 4 + sigma**2)))

    def __call__(self, x_t: Tensor, t: object, cond: object = None) -> Tensor:
        return self.answer(x_t, t).x0


def methods(measured: Measurement) -> list[tuple[Sampler, list[object]]]:
    """Every method with its sampler: at least one of each class that takes a measurement."""
    return [
        (Replacement(measured), []), (Replacement(measured, Heun()), []), (ILVR(measured), []),
        (RePaint(measured, jump=2, resamplings=3), []), (RePaint(measured, DPMpp2M(), jump=3, resamplings=2), []),
        (ReplacementPC(measured, corrector=Langevin(rule="sigma")), []),
        (DPS(measured, 0.3), []), (DPS(measured, 0.3, Heun()), []),
        (DDRM(measured), []), (DDNM(measured), []), (Twisted(measured, 3), []),
        (DDIM(), [PiGDM(measured)]), (DPMpp2M(), [PiGDM(measured, 0.5)]), (DDIM(eta=1.0), [MMPS(measured)]),
        *([(SplitGibbs(measured, 2), [])] if measured.std else []),
    ]  # fmt: skip


WHITE = torch.zeros(6, 6)
WHITE[2:5, 1:4] = 1
MASKED = Measurement(Mask(WHITE), torch.full((1, 1, 6, 6), 0.3) * (1 - WHITE), 0.1)
NAMES = [f"{i}-{type((rules or [sampler])[0]).__name__}" for i, (sampler, rules) in enumerate(methods(MASKED))]
every = pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)


def with_rules(denoiser: Denoise, rules: list[object]) -> Denoise:
    return Guided(denoiser, *rules) if rules else denoiser  # type: ignore[arg-type]


def test_members_are_covered() -> None:
    rooms = [getattr(room, name) for room in (samplers, guidances) for name in room.__all__]
    wanted = {m for m in rooms if inspect.isclass(m) and "measured" in inspect.signature(m).parameters}
    assert wanted == {type(thing) for sampler, rules in methods(MASKED) for thing in (rules or [sampler])}


@every
@pytest.mark.parametrize("schedule", [VP(), VE(), EDM(), Cosine(), Flow(), LinearBetas(1000)], ids=repr)
def test_finite_and_counted_on_every_schedule(number: int, schedule: Schedule) -> None:
    sampler, rules = methods(MASKED)[number]
    for times in (LogSNR()(schedule, 12), Final(LogSNR())(schedule, 12)):
        plain, rng = Plain(schedule), Rng([1, 2])
        x = samplers.prior(schedule, (1, 6, 6), times[0], rng)
        *_, last = sampler.walk(with_rules(plain, rules), x, times, rng=rng)
        assert last.x.shape == x.shape and last.x.isfinite().all()
        per_row = sampler.particles if isinstance(sampler, Twisted) else 1
        assert last.nfe == plain.calls * per_row
        assert getattr(times, "final", False) or sampler.evaluations(len(times)) in (None, last.nfe)


@every
def test_a_sample_does_not_depend_on_its_batch(number: int) -> None:
    sampler, rules = methods(MASKED)[number]
    denoiser, rng, times = with_rules(Plain(VP()), rules), Rng([5, 6, 7]), LogSNR()(VP(), 10)
    x = samplers.prior(VP(), (1, 6, 6), 1.0, rng, torch.float64)
    together, alone = sampler(denoiser, x, times, rng=rng), sampler(denoiser, x[1:2], times, rng=Rng([6]))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-9, atol=1e-9)


@every
def test_each_row_may_have_a_measurement_of_its_own(number: int) -> None:
    y = torch.stack([torch.full((1, 6, 6), value) * (1 - WHITE) for value in (-0.5, 0.5)])
    sampler, rules = methods(Measurement(Mask(WHITE), y, 0.05))[number]
    denoiser, rng, times = with_rules(Plain(VP()), rules), Rng([1, 2]), LogSNR()(VP(), 20)
    x = sampler(denoiser, samplers.prior(VP(), (1, 6, 6), 1.0, rng), times, rng=rng)
    kept = (x * (1 - WHITE)).sum((1, 2, 3)) / (1 - WHITE).sum()
    assert kept[0] < -0.2 and kept[1] > 0.2, kept


@every
def test_noiseless_measurements_are_met(number: int) -> None:
    """At least roughly by those that only tend to it, to rounding by those that overwrite."""
    measured = Measurement(MASKED.operator, MASKED.y)
    if isinstance(methods(MASKED)[number][0], SplitGibbs | ILVR):
        return  # the one needs noise, the other lets go at the end
    sampler, rules = methods(measured)[number]
    denoiser, rng = with_rules(Plain(VP()), rules), Rng([1, 2, 3])
    x = sampler(denoiser, samplers.prior(VP(), (1, 6, 6), 1.0, rng), LogSNR()(VP(), 60), rng=rng)
    far = (measured.residual(x)).abs().max()
    assert far < (1e-5 if isinstance(sampler, Replacement | DDNM) else 0.15 if isinstance(sampler, DPS) else 0.05), (
        far
    )  # sigma at t_min is 0.01


# Exactness


@pytest.mark.parametrize("std", [0.3, 0.0])
@pytest.mark.parametrize("t", [0.9, 0.5, 0.1])
def test_moment_matching_is_exact_for_normal_data(t: float, std: float) -> None:
    for schedule in (VP(), Flow(), EDM(0.01, 10.0)):
        prior = normal(schedule)
        rule = MMPS(Measurement(Matrix(ROW), Y, std))
        x_t = Rng(range(5)).normal((2,), "x", dtype=torch.float64) * 2
        torch.testing.assert_close(Guided(prior, rule)(x_t, t), prior.given(ROW, Y[0], std)(x_t, t), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("t", [0.9, 0.5, 0.1])
def test_pseudo_inverse_guidance_is_exact_for_even_spread(t: float) -> None:
    a, y = torch.tensor([[0.5, 1.0, 0.0], [0.0, 0.3, 2.0]], dtype=torch.float64), torch.tensor([[0.4, -1.0]], dtype=torch.float64)
    for schedule in (VP(), Flow(), EDM(0.01, 10.0)):
        prior = Gaussian(schedule, torch.tensor([0.3, -1.0, 0.0]), torch.eye(3) * 0.49)
        rule = PiGDM(Measurement(Matrix(a), y, 0.2), spread=0.7)
        x_t = Rng(range(5)).normal((3,), "x", dtype=torch.float64)
        torch.testing.assert_close(Guided(prior, rule)(x_t, t), prior.given(a, y[0], 0.2)(x_t, t), rtol=1e-5, atol=1e-6)


def test_a_guided_walk_draws_the_posterior_of_normal_data() -> None:
    prior = normal(VP())
    posterior = prior.given(ROW, Y[0], 0.3)
    x = drawn(UniPC(), Guided(prior, MMPS(Measurement(Matrix(ROW), Y, 0.3))), 4000, 40)
    mean, covariance = errors(x, posterior)
    assert mean < 0.04 and covariance < 0.06, (mean, covariance)


@pytest.mark.parametrize("prior", [normal, mixture], ids=["normal", "mixture"])
def test_particles_draw_the_posterior(prior: Callable[[Schedule], Mixture]) -> None:
    of = prior(Cosine())
    measured = Measurement(Matrix(ROW), Y, 0.3)
    x = drawn(Twisted(measured, 24), of, 250, 100)
    mean, covariance = errors(x, of.given(ROW, Y[0], 0.3))
    assert mean < 0.2 and covariance < 0.25, (mean, covariance)  # three standard errors and the steps' own bias
    alone = errors(drawn(Twisted(measured, 1), of, 250, 100), of.given(ROW, Y[0], 0.3))
    assert prior is normal or alone[0] > 2 * mean, (alone, mean)


def test_gibbs_sweeps_leave_the_posterior_as_it_is_and_lead_to_it() -> None:
    prior, measured = normal(Cosine()), Measurement(Matrix(ROW), Y, 0.3)
    posterior = prior.given(ROW, Y[0], 0.3)
    far, near = (errors(drawn(SplitGibbs(measured, sweeps), prior, 1000, 80), posterior) for sweeps in (0, 25))
    assert near[0] < 0.08 and near[1] < 0.1, near
    assert far[1] > 1.5 * near[1], (far, near)


def test_replacement_is_biased_and_resampling_mends_it() -> None:
    prior, measured = mixture(Cosine()), Measurement(Matrix(ROW), Y)
    posterior = prior.given(ROW, Y[0], 1e-6)
    walks = [RePaint(measured, jump=5, resamplings=r) for r in (1, 3, 9)]
    found = [errors(drawn(sampler, prior, 500, 60), posterior)[0] for sampler in (Replacement(measured), *walks)]
    assert found[0] > 0.4 and found[1] == found[0]
    assert found[1] > 1.25 * found[2] > 1.25**2 * found[3], found


# Each by its formula


def test_dps_steps_down_the_gradient() -> None:
    schedule, measured = VP(), Measurement(Matrix(ROW), Y)
    prior, times, x = mixture(schedule), LogSNR()(schedule, 5), torch.tensor([[0.3, 0.4], [1.0, -1.0]], dtype=torch.float64)
    plain, pushed = (next(s.walk(prior, x, times)).x for s in (DDIM(), DPS(measured, 0.7, DDIM())))
    at = x.clone().requires_grad_()
    misfit = (Y - prior(at, times[0])[:, :1]).norm(dim=1).sum()
    torch.testing.assert_close(pushed, plain - 0.7 * torch.autograd.grad(misfit, at)[0])


def test_ddrm_by_hand() -> None:
    """One step from known states, without noise, in each of the three cases."""
    schedule, white = VP(), torch.tensor([[0.0, 1.0]])
    denoiser = Plain(schedule)
    times = LogSNR()(schedule, 6)

    def silent(like: Tensor, t: float, s: float) -> Tensor:
        return torch.zeros_like(like)

    for std in (1e-3, 50.0):
        sampler = DDRM(Measurement(Mask(white), torch.tensor([[[[0.8, 0.0]]]]), std), eta=0.6, eta_b=0.9)
        walk = samplers.Walk(denoiser, None, silent, times, sampler.plan(schedule, times))
        x_t = torch.tensor([[[[0.5, -0.4]]]])
        x_s = sampler.step(walk, x_t, 2)
        x0 = denoiser(x_t, times[2])
        (alpha_t, alpha_s), (sigma_t, sigma_s) = schedule(torch.tensor(times[2:4], dtype=torch.float64))
        ratio = sigma_s / alpha_s
        free = x0 + 0.8 * ratio * (x_t - alpha_t * x0) / sigma_t
        known = x0 + 0.9 * (0.8 - x0) if std < ratio else x0 + 0.8 * ratio * (0.8 - x0) / std
        torch.testing.assert_close(x_s[..., 1], (alpha_s * free)[..., 1].float())
        torch.testing.assert_close(x_s[..., 0], (alpha_s * known)[..., 0].float())


def test_begin_at_a_picture() -> None:
    schedule, picture = Cosine(), torch.full((1, 1, 6, 6), 0.9)
    found = {}
    for strength in (0.05, 0.5, 1.0):
        times, rng = Below(strength)(schedule, 20), Rng(range(50))
        assert len(times) == 20 and times[-1] == pytest.approx(schedule.t_min)
        x = samplers.prior(schedule, (1, 6, 6), times[0], rng)
        found[strength] = SDEdit(picture, DDIM())(Plain(schedule), x, times)
    assert (found[0.05] - picture).abs().mean() < 0.1 < (found[0.5] - picture).abs().mean()
    whole = DDIM()(Plain(schedule), samplers.prior(schedule, (1, 6, 6), 1.0, Rng(range(50))), LogSNR()(schedule, 20))
    torch.testing.assert_close(found[1.0], whole, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("schedule", [VP(), VE(), EDM(), Cosine(), Flow()], ids=repr)
def test_strength_is_one_noise_level_on_every_schedule(schedule: Schedule) -> None:
    (t, *_) = Below(0.5)(schedule, 8)
    alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    assert float(sigma / alpha) == pytest.approx(1.0, rel=1e-6)
    for rule in (Uniform(), LogSNR(), Auto()):
        times = Below(0.3, rule)(schedule, 7)
        assert len(times) == 7 and times[-1] == rule(schedule, 7)[-1]


# Operators without singular values, or not linear; latents


class Untold(Operator):
    """An operator that keeps its singular values to itself."""

    def __init__(self, inner: Operator) -> None:
        self.inner = inner

    def __call__(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def spectrum(self, like: Tensor) -> Spectrum | None:
        return None


@pytest.mark.parametrize("operator", [Mask(WHITE), Downsample(2, "area"), GaussianBlur(0.7), Crop(1, 2, 0, 1)], ids=repr)
@pytest.mark.parametrize("make", [lambda m: ([PiGDM(m)], DDIM()), lambda m: ([], Replacement(m)), lambda m: ([], DDNM(m))])
def test_conjugate_gradients_do_what_singular_values_do(operator: Operator, make: Callable[..., object]) -> None:
    rng, times = Rng([1, 2]), LogSNR()(VP(), 12)
    x = samplers.prior(VP(), (1, 6, 6), 1.0, rng, torch.float64)
    y = operator(torch.linspace(-1, 1, 36, dtype=torch.float64).reshape(1, 1, 6, 6))
    ends = []
    for told in (operator, Untold(operator)):
        rules, sampler = make(Measurement(told, y))  # type: ignore[misc]
        ends.append(sampler(with_rules(Plain(VP()), rules), x, times, rng=rng))
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-3)


def test_samplers_that_need_singular_values_say_so() -> None:
    measured = Measurement(Untold(Identity()), torch.zeros(1, 1, 6, 6), 0.1)
    for sampler in (DDRM(measured), SplitGibbs(measured), Twisted(measured)):
        plain = Plain(VP())
        with pytest.raises(ValueError, match="no singular values"):
            sampler(plain, torch.zeros(1, 1, 6, 6), LogSNR()(VP(), 5), rng=Rng([1]))
        assert plain.calls == 0


DIFFERENTIABLE = {
    "quantize": Quantize(3),
    "clip": Clip(-0.2, 0.2),
    "jpeg": JPEG(5),
    "grey of few": Gray() @ Downsample(2),
    "fourier": Fourier(1 - torch.eye(8)),
    "area of tanh": Downsample(2, "area") @ torch.tanh,
}


@pytest.mark.parametrize("operator", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
def test_whatever_can_be_differentiated(operator: Operator) -> None:
    """What a smooth picture leaves of itself is nearly met by every method that takes the operator."""
    shape = (1, 3, 8, 8)
    x = torch.sin(torch.arange(8.0) / 2)[:, None] * torch.cos(torch.arange(8.0) / 3) * torch.ones(shape) * 0.6
    measured, met = Measurement(operator, operator(x), 0.02), 0
    plain, times = Plain(VP()), LogSNR()(VP(), 40)
    start = samplers.prior(VP(), shape[1:], 1.0, Rng([3]))
    unguided = measured.residual(DDIM()(plain, start, times)).abs().mean()
    for sampler, rules in (
        (DPS(measured, 0.4), []),
        (DDIM(), [PiGDM(measured, 0.5)]),
        (DDIM(), [MMPS(measured)]),
        (DDNM(measured), []),
    ):
        try:
            found = sampler(with_rules(plain, rules), start, times, rng=Rng([3]))
        except ValueError as error:
            assert "pseudo-inverse" in str(error)
            continue
        met += 1
        assert measured.residual(found).abs().mean() < 0.6 * unguided, (type(sampler), rules)
    assert met >= 2


@pytest.mark.parametrize(
    "make",
    [
        lambda m: RePaint(m, jump=0),
        lambda m: DDRM(m, eta=2.0),
        lambda m: DDRM(m, 0.5, -1.0),
        lambda m: PiGDM(m, 0.0),
        lambda m: MMPS(m, 0),
        lambda m: Twisted(m, 0),
        lambda m: SplitGibbs(Measurement(m.operator, m.y)),
        lambda m: Below(0.0),
        lambda m: Below(1e-9)(VP(), 5),
    ],
)
def test_options_are_checked(make: Callable[[Measurement], object]) -> None:
    with pytest.raises(ValueError, match=r"given|expected|least"):
        make(MASKED)
