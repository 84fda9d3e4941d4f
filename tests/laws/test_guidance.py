"""Laws of every rule of guidance: off is off, exact where the law is known, finite, good for any walk, deaf to its company."""

from __future__ import annotations

import inspect
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import unnoise.guidance as guidance
import unnoise.sampler as samplers
from unnoise.condition import Condition
from unnoise.denoiser import Answer, Denoise, Denoiser, Gaussian, Mixture, Recogniser, score
from unnoise.guidance import APG, CFG, Auto, Classifier, Clip, Guidance, Guided, Threshold
from unnoise.network import Classifier as Network
from unnoise.network import UNet
from unnoise.prediction import v
from unnoise.sampler import DDIM, Ancestral, DPMpp2M, Heun, Sampler
from unnoise.schedule import EDM, VE, VP, Cosine, Flow, LinearBetas, ScaledLinearBetas, Schedule, ZeroSNR
from unnoise.tensor import Rng, expand
from unnoise.times import LogSNR

SCHEDULES: list[Schedule] = [VP(), VE(), Flow(), EDM(), Cosine(), LinearBetas(100)]
every = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
MEMBERS: list[Any] = [
    member
    for member in (getattr(guidance, name) for name in guidance.__all__)
    if inspect.isclass(member) and issubclass(member, Guidance) and not inspect.isabstract(member)
    if not {"measured", "picture"} & set(inspect.signature(member).parameters)
]
SCALED = [member for member in MEMBERS if "scale" in inspect.signature(member).parameters]
WALKS: list[Any] = [
    member
    for member in (getattr(samplers, name) for name in samplers.__all__)
    if inspect.isclass(member) and issubclass(member, Sampler) and not inspect.isabstract(member)
    if all(p.default is not p.empty for p in inspect.signature(member).parameters.values())
]
LABEL = {"label": torch.tensor([0, 1, 0, 1, 0])}
T = torch.tensor([0.1, 0.35, 0.5, 0.75, 0.9], dtype=torch.float64)


def mixture(schedule: Schedule, classes: list[int] | None = None) -> Mixture:
    rng = Rng([1, 2, 3])
    means, roots = rng.normal((2,), "mean", dtype=torch.float64), rng.normal((2, 2), "root", dtype=torch.float64)
    return Mixture(schedule, torch.tensor([0.2, 0.5, 0.3]), 2 * means, roots @ roots.mT / 2, classes)


def labelled(schedule: Schedule) -> Mixture:
    return mixture(schedule, [0, 0, 1])


def points(schedule: Schedule, t: Tensor = T) -> Tensor:
    """Where x_t is likely to be."""
    alpha, sigma = schedule(t)
    drawn = 2 * Rng(range(len(t))).normal((2,), "points", dtype=torch.float64)
    return expand((alpha**2 + sigma**2).sqrt(), drawn) * drawn


def rule(member: Any, schedule: Schedule, **options: Any) -> Guidance:
    """A rule with what it asks: another belief about the same data."""
    others = {Auto: Gaussian(schedule, torch.zeros(2), 2 * torch.eye(2)), Classifier: labelled(schedule)}
    return member(**options, **({"other": others[member]} if member in others else {}))


class Asked:
    """A denoiser that counts its evaluations, by batches as large as the first."""

    def __init__(self, denoiser: Denoise) -> None:
        self.denoiser, self.schedule, self.conds, self.asked = denoiser, denoiser.schedule, denoiser.conds, 0

    def project(self, x: Tensor, cond: Any = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: Any, cond: Any = None) -> Answer:
        self.asked += len(x_t) // len(LABEL["label"])
        return self.denoiser.answer(x_t, t, cond)

    def __call__(self, x_t: Tensor, t: Any, cond: Any = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


# Off is off


@every
@pytest.mark.parametrize("member", SCALED)
def test_scale_one_is_no_guidance_to_the_bit(schedule: Schedule, member: Any) -> None:
    denoiser = labelled(schedule)
    for t in (T, 0.4):
        found = Guided(denoiser, rule(member, schedule, scale=1.0)).answer(points(schedule), t, LABEL)
        assert torch.equal(found.x0, denoiser(points(schedule), t, LABEL)) and found.score is None and found.nfe == 1


@every
@pytest.mark.parametrize("member", SCALED)
def test_outside_of_its_interval_a_rule_is_off(schedule: Schedule, member: Any) -> None:
    denoiser = labelled(schedule)
    alpha, sigma = schedule(T)
    low, high = float((sigma / alpha)[1]), float((sigma / alpha)[3])  # above the first, up to and with the second
    bounded = Guided(denoiser, rule(member, schedule, scale=3.0, interval=(low, high)))(points(schedule), T, LABEL)
    free = Guided(denoiser, rule(member, schedule, scale=3.0))(points(schedule), T, LABEL)
    plain = denoiser(points(schedule), T, LABEL)
    assert torch.equal(bounded[[0, 1, 4]], plain[[0, 1, 4]]) and torch.equal(bounded[2:4], free[2:4])
    assert not torch.isclose(plain[2:4], free[2:4], rtol=1e-12, atol=0).all(1).any()


@pytest.mark.parametrize("interval", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (math.nan, 1.0)])
def test_intervals_that_hold_nothing_are_refused(interval: tuple[float, float]) -> None:
    for member in SCALED:
        with pytest.raises(ValueError, match="interval"):
            rule(member, VP(), interval=interval)


# Exact


@every
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5, 7.0])
def test_a_classifier_that_is_right_makes_the_conditional_law_of_the_unconditional_one(schedule: Schedule, scale: float) -> None:
    """Bayes: grad log p(x_t) + grad log p(label | x_t) = grad log p(x_t | label). At other scales: what CFG aims at."""
    found = Guided(mixture(schedule), Classifier(scale=scale, other=labelled(schedule)))(points(schedule), T, LABEL)
    aim = Guided(labelled(schedule), CFG(scale))(points(schedule), T, LABEL)
    assert torch.allclose(found, aim, rtol=1e-7, atol=1e-7)
    if scale == 1:
        slope = labelled(schedule).score(points(schedule), T, LABEL)
        assert torch.allclose(score(points(schedule), found, *schedule(T)), slope, rtol=1e-6, atol=1e-6)
    for denoiser in (
        Classifier(scale=scale, other=labelled(schedule)),
        Classifier(scale=scale, alone=True, other=labelled(schedule)),
    ):
        told = Guided(labelled(schedule), denoiser)(points(schedule), T, LABEL)  # which knows the label, and may be told
        assert torch.allclose(told, aim, rtol=1e-7, atol=1e-7)


@every
@pytest.mark.parametrize("there", [Cosine(), EDM(), LinearBetas(1000)], ids=repr)
def test_what_was_trained_on_another_schedule_is_asked_at_equal_log_snr(schedule: Schedule, there: Schedule) -> None:
    for member, same, other in (
        (Classifier, labelled(schedule), labelled(there)),
        (Auto, *(Gaussian(s, torch.ones(2), 2 * torch.eye(2)) for s in (schedule, there))),
    ):
        found, aim = (
            Guided(labelled(schedule), member(scale=3.0, other=belief))(points(schedule), T, LABEL) for belief in (other, same)
        )
        reached = schedule.log_snr(T) > there.log_snr(torch.ones(1, dtype=torch.float64))  # noise that the other one knows
        assert torch.allclose(found[reached], aim[reached], rtol=1e-6, atol=1e-6)


@every
@pytest.mark.parametrize("member", [CFG, Auto, Classifier])
def test_x0_is_linear_in_the_scale(schedule: Schedule, member: Any) -> None:
    at = {s: Guided(labelled(schedule), rule(member, schedule, scale=s))(points(schedule), T, LABEL) for s in (0.0, 1.0, 4.0)}
    assert torch.allclose(at[4.0], at[0.0] + 4 * (at[1.0] - at[0.0]), rtol=1e-8, atol=1e-8)


@every
def test_autoguidance_moves_away_from_the_worse_belief(schedule: Schedule) -> None:
    worse = Gaussian(schedule, torch.zeros(2), 2 * torch.eye(2))
    answer = Guided(labelled(schedule), Auto(scale=2.5, other=worse)).answer(points(schedule), T, LABEL)
    better, bad = labelled(schedule)(points(schedule), T, LABEL), worse(points(schedule), T)
    assert torch.allclose(answer.x0, bad + 2.5 * (better - bad)) and answer.nfe == 2


def test_away_takes_the_place_of_none() -> None:
    denoiser, x_t = labelled(VP()), points(VP())
    away = denoiser(x_t, T, {"label": torch.ones(5, dtype=torch.int64)})
    aim = torch.lerp(away, denoiser(x_t, T, LABEL), 3.0)
    for value in (1, "1", [1] * 5):
        assert torch.allclose(Guided(denoiser, CFG(3.0, away={"label": value}))(x_t, T, LABEL), aim)
    with pytest.raises(ValueError, match="no condition 'text'"):
        Guided(denoiser, CFG(3.0, away={"text": "blurry"}))(x_t, T, LABEL)
    with pytest.raises(ValueError, match="no such class"):
        Guided(denoiser, CFG(3.0, away={"label": 7}))(x_t, T, LABEL)


def test_rescaling_gives_back_the_deviation() -> None:
    denoiser, x_t = labelled(VP()), points(VP())
    std = {share: Guided(denoiser, CFG(6.0, rescale=share))(x_t, T, LABEL).std(1) for share in (0.0, 0.3, 1.0)}
    assert torch.allclose(std[1.0], denoiser(x_t, T, LABEL).std(1))
    assert torch.allclose(std[0.3], torch.lerp(std[0.0], std[1.0], 0.3))
    one = torch.ones(1, 1, dtype=torch.float64)  # a single value has no deviation to give back
    alone = Mixture(VP(), torch.ones(2), torch.tensor([[-1.0], [1.0]]), torch.full((2, 1, 1), 0.1), [0, 1])
    assert Guided(alone, CFG(2.0, rescale=1.0))(one, 0.5, {"label": torch.zeros(1, dtype=torch.int64)}).isfinite().all()


def test_projected_guidance_by_its_formula() -> None:
    denoiser, x_t = labelled(VP()), points(VP())
    cond, null = denoiser(x_t, T, LABEL), denoiser(x_t, T)

    def found(**options: Any) -> Tensor:
        return Guided(denoiser, APG(5.0, **options))(x_t, T, LABEL)

    assert torch.allclose(found(parallel=1.0), torch.lerp(null, cond, 5.0))  # is CFG
    across = found() - cond
    assert torch.allclose((across * cond).sum(1), torch.zeros(5).double(), atol=1e-10) and (across.norm(dim=1) > 1e-4).all()
    d = cond - null
    assert torch.allclose(across, 4 * (d - (d * cond).sum(1, keepdim=True) / cond.square().sum(1, keepdim=True) * cond))
    short = found(parallel=1.0, norm=0.05) - cond
    assert torch.allclose(short.norm(dim=1), 4 * (cond - null).norm(dim=1).clamp(max=0.05))
    assert torch.equal(found(momentum=-0.5), found(momentum=-0.5)) and torch.equal(found(momentum=-0.5), found())


def test_the_memory_of_momentum_is_one_walks_own() -> None:
    denoiser, ride = labelled(VP()), APG(5.0, parallel=1.0, momentum=-0.5)
    begun = Guided(denoiser, ride).begin()
    x_t, seen = points(VP()), None
    for t in (0.9, 0.6, 0.3):
        d = denoiser(x_t, t, LABEL) - denoiser(x_t, t)
        seen = d if seen is None else d - 0.5 * seen
        assert torch.allclose(begun(x_t, t, LABEL), denoiser(x_t, t, LABEL) + 4 * seen)
    times = LogSNR()(VP(), 6)
    first, again = (DDIM()(Guided(denoiser, ride), x_t, times, LABEL) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, DDIM()(Guided(denoiser, APG(5.0, parallel=1.0)), x_t, times, LABEL))


def test_ancestral_guidance_is_left_to_the_sampler() -> None:
    """ADM's algorithm 1: the mean of a step moves by its variance times the weighted gradient."""
    schedule, x_t, times = VP(), points(VP()), LogSNR()(VP(), 5)
    led = Guided(mixture(schedule), Classifier(scale=3.0, ancestral=True, other=labelled(schedule)))
    answer = led.answer(x_t, times[1], LABEL)
    slope = labelled(schedule).score(x_t, times[1], LABEL) - mixture(schedule).score(x_t, times[1])
    assert torch.equal(answer.x0, mixture(schedule)(x_t, times[1])) and answer.score is not None
    assert torch.allclose(answer.score, 3 * slope)

    def silent(like: Tensor, t: float, s: float) -> Tensor:
        return torch.zeros_like(like)

    led_to, plain = (
        next(iter(Ancestral().walk(d, x_t, times[1:], LABEL if d is led else None, silent))).x for d in (led, led.denoiser)
    )
    std = float(schedule.posterior(*torch.tensor([times[2], times[1]], dtype=torch.float64)[:, None])[2])
    assert torch.allclose(led_to, plain + std**2 * answer.score)


def test_a_classifier_leaves_alone_whom_it_is_told_nothing_of() -> None:
    x_t, null = points(VP()), {"label": torch.tensor([0, 2, 2, 1, 2])}
    rule = Classifier(scale=4.0, other=labelled(VP()))
    found, plain = Guided(mixture(VP()), rule)(x_t, T, null), mixture(VP())(x_t, T)
    assert torch.equal(found[[1, 2, 4]], plain[[1, 2, 4]]) and not torch.isclose(found[[0, 3]], plain[[0, 3]]).any()
    with pytest.raises(ValueError, match="told the label"):
        Guided(mixture(VP()), rule)(x_t, T)


def test_rules_without_what_they_ask_are_refused() -> None:
    for member in (Auto, Classifier):
        with pytest.raises(ValueError, match="run = FOLDER"):
            member()
    other = Mixture(VP(), torch.ones(3), torch.zeros(3, 2), torch.eye(2).expand(3, 2, 2), [0, 1, 2])
    with pytest.raises(ValueError, match="other classes of 'label'"):
        Guided(labelled(VP()), Classifier(other=other))


# Thresholds


def test_thresholds_hold_what_leaves_the_range_and_nothing_else() -> None:
    inside, outside = torch.linspace(-1, 1, 200).reshape(2, 100), torch.randn(2, 1000, generator=torch.Generator().manual_seed(1))

    class Fixed(Asked):
        def answer(self, x_t: Tensor, t: Any, cond: Any = None) -> Answer:
            return Answer(x_t)

    fixed = Fixed(labelled(VP()))
    assert torch.equal(Guided(fixed, Threshold())(inside, 0.5), inside)
    for share in (0.5, 0.9, 0.995, 1.0):
        answer = Guided(fixed, Threshold(share)).answer(3 * outside, 0.5)
        assert answer.raw is not None and torch.equal(answer.raw, 3 * outside)
        assert answer.x0.abs().max() <= 1 and (answer.x0.abs() < 1 - 1e-6).double().mean() == pytest.approx(share, abs=2e-3)
    assert torch.equal(Guided(fixed, Threshold(most=1.0))(3 * outside, 0.5), Guided(fixed, Clip())(3 * outside, 0.5))


# Every rule


@pytest.mark.parametrize("schedule", [*SCHEDULES, ZeroSNR(ScaledLinearBetas())], ids=repr)
@pytest.mark.parametrize("member", MEMBERS)
def test_answers_are_finite_at_both_ends(schedule: Schedule, member: Any) -> None:
    options = {"scale": 7.5} if member in SCALED else {}
    for t in (1.0, schedule.t_min or 1e-4):
        x_t = points(schedule, torch.full((5,), t, dtype=torch.float64))
        for dtype in (torch.float64, torch.float32):
            answer = Guided(labelled(schedule), rule(member, schedule, **options)).answer(x_t.to(dtype), t, LABEL)
            assert answer.x0.isfinite().all() and answer.x0.dtype == dtype and answer.x0.shape == x_t.shape


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("member", MEMBERS)
def test_every_rule_goes_with_every_sampler(walk: Any, member: Any) -> None:
    """Finite; the evaluations are counted as they were made; the same whatever else is in the batch."""
    options = {"scale": 1.5, "interval": (0.2, 3.0)} if member in SCALED else {}
    asked, sampler = Asked(labelled(VP())), walk()
    led = Guided(asked, rule(member, VP(), **options))
    start, times = points(VP(), torch.ones(5, dtype=torch.float64)), LogSNR()(VP(), 2 if sampler.evaluations(9) is None else 5)
    *_, last = sampler.walk(led, start, times, LABEL, Rng(range(5)))
    assert last.x.isfinite().all()
    assert last.nfe == asked.asked + (asked_of(last.nfe, asked) if member is Auto else 0)


def asked_of(nfe: int, asked: Asked) -> int:
    """What autoguidance asked of the other denoiser, which counts nothing itself: no more than of this one."""
    other = nfe - asked.asked
    assert 0 < other <= asked.asked
    return other


@pytest.mark.parametrize("sampler", [DDIM(), Heun(), DPMpp2M()], ids=repr)
def test_evaluations_are_counted_where_they_vary_with_the_time(sampler: Sampler) -> None:
    times = LogSNR()(VP(), 8)
    alpha, sigma = VP()(torch.tensor(list(times), dtype=torch.float64))
    level = (sigma / alpha).tolist()
    inside = [2 <= k < 5 for k in range(8)]
    asked = Asked(labelled(VP()))
    *_, last = sampler.walk(Guided(asked, CFG(3.0, (level[5], level[2]))), points(VP()), times, LABEL)
    ends = 2 if isinstance(sampler, Heun) else 1  # a time is the end of one step, then the start of another
    expected = sum((1 + i) * (ends if k else 1) for k, i in enumerate(inside))
    assert last.nfe == asked.asked == expected


@pytest.mark.parametrize("member", MEMBERS)
def test_an_answer_does_not_depend_on_its_company(member: Any) -> None:
    """To the bit, with networks in batches of one size."""
    condition = Condition(classes=("a", "b"))
    unet, small = (
        UNet((1, 8, 8), {"label": condition}, width=w, multipliers=(1, 2), blocks=1, heads=1, zero_init=False) for w in (16, 8)
    )
    head = Network((1, 8, 8), 2, width=8, multipliers=(1, 2), blocks=1, heads=1)
    generator = torch.Generator().manual_seed(0)
    for parameter in itertools.chain(*(network.parameters() for network in (unet, small, head))):  # fresh ones answer 0
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    others = {Auto: Denoiser(small, VP(), v).eval(), Classifier: Recogniser(head, VP(), "label", condition).eval()}
    options: dict[str, Any] = {"scale": 3.0} if member in SCALED else {}
    led = Guided(Denoiser(unet, VP(), v).eval(), member(**options, **({"other": others[member]} if member in others else {})))
    x_t, label = torch.randn(5, 1, 8, 8, generator=generator), LABEL["label"]
    with torch.no_grad():
        every = led(x_t, T, {"label": label})
        for row, company in itertools.product(range(5), (1, 3)):
            rows = [(row + company * k) % 5 for k in range(5)]
            again = led(x_t[rows], T[rows], {"label": label[rows]})
            assert torch.equal(again[0], every[row])
        if member in SCALED:
            assert not torch.equal(every, led.denoiser(x_t, T, {"label": label}))
