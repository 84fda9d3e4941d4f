"""Laws of the methods for inverse problems: steady everywhere, and what they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from oracles import Scalar
from torch import Tensor

import unnoise.guidance as guidances
import unnoise.sampler as samplers
from unnoise.denoiser import Denoise
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
    SplitGibbs,
    Twisted,
)
from unnoise.schedule import EDM, VE, VP, Cosine, Flow, LinearBetas, Schedule
from unnoise.tensor import Rng
from unnoise.times import Below, Final, LogSNR


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
        plain, rng = Scalar(schedule), Rng([1, 2])
        x = samplers.prior(schedule, (1, 6, 6), times[0], rng)
        *_, last = sampler.walk(with_rules(plain, rules), x, times, rng=rng)
        assert last.x.shape == x.shape and last.x.isfinite().all()
        per_row = sampler.particles if isinstance(sampler, Twisted) else 1
        assert last.nfe == plain.calls * per_row
        assert getattr(times, "final", False) or sampler.evaluations(len(times)) in (None, last.nfe)


@every
def test_a_sample_does_not_depend_on_its_batch(number: int) -> None:
    sampler, rules = methods(MASKED)[number]
    denoiser, rng, times = with_rules(Scalar(VP()), rules), Rng([5, 6, 7]), LogSNR()(VP(), 10)
    x = samplers.prior(VP(), (1, 6, 6), 1.0, rng, torch.float64)
    together, alone = sampler(denoiser, x, times, rng=rng), sampler(denoiser, x[1:2], times, rng=Rng([6]))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-9, atol=1e-9)


@every
def test_each_row_may_have_a_measurement_of_its_own(number: int) -> None:
    y = torch.stack([torch.full((1, 6, 6), value) * (1 - WHITE) for value in (-0.5, 0.5)])
    sampler, rules = methods(Measurement(Mask(WHITE), y, 0.05))[number]
    denoiser, rng, times = with_rules(Scalar(VP()), rules), Rng([1, 2]), LogSNR()(VP(), 20)
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
    denoiser, rng = with_rules(Scalar(VP()), rules), Rng([1, 2, 3])
    x = sampler(denoiser, samplers.prior(VP(), (1, 6, 6), 1.0, rng), LogSNR()(VP(), 60), rng=rng)
    far = (measured.residual(x)).abs().max()
    assert far < (1e-5 if isinstance(sampler, Replacement | DDNM) else 0.15 if isinstance(sampler, DPS) else 0.05), (
        far
    )  # sigma at t_min is 0.01


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
        ends.append(sampler(with_rules(Scalar(VP()), rules), x, times, rng=rng))
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-3)


def test_samplers_that_need_singular_values_say_so() -> None:
    measured = Measurement(Untold(Identity()), torch.zeros(1, 1, 6, 6), 0.1)
    for sampler in (DDRM(measured), SplitGibbs(measured), Twisted(measured)):
        plain = Scalar(VP())
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
    plain, times = Scalar(VP()), LogSNR()(VP(), 40)
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
