"""Laws of samplers: the order of convergence that they claim."""

from __future__ import annotations

import math
from functools import cache

import pytest
from oracles import two_modes
from torch import Tensor
from walks import ALL, noisy

from unnoise.sampler import (
    DDIM,
    PNDM,
    Adaptive,
    DPMpp2M,
    DPMpp3M,
    Heun,
    Sampler,
    UniPC,
    encode,
)  # fmt: skip
from unnoise.schedule import VP, Flow, Schedule
from unnoise.times import Given, LogSNR


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
