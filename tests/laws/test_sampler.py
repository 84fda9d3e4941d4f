"""Laws of every sampler: evaluations, steadiness, independence of the batch, options."""

from __future__ import annotations

import pytest
import torch
from oracles import Constant, Wrong, narrow, silent, two_modes
from walks import MEMBERS, SCHEDULES, every, noisy, usual

import unnoise.sampler as samplers
from unnoise.sampler import (
    DDIM,
    PNDM,
    Adaptive,
    Ancestral,
    DPMpp2M,
    DPMppSDE,
    DPMSolver,
    Heun,
    Sampler,
    Singlestep,
    UniPC,
)  # fmt: skip
from unnoise.schedule import VP, Schedule
from unnoise.tensor import Rng
from unnoise.times import Final, LogSNR, Uniform


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


def test_members_are_covered() -> None:
    assert len(MEMBERS) >= 20 and DPMppSDE in MEMBERS
