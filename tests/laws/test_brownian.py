"""Laws of the noise along a walk: one path, whatever the steps."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from oracles import Constant, two_modes
from torch import Tensor
from walks import noisy

from unnoise.sampler import (
    DDIM,
    Brownian,
    DPMpp2M,
    Noise,
)  # fmt: skip
from unnoise.schedule import EDM, VE, VP, Flow, Schedule
from unnoise.tensor import Rng
from unnoise.times import Given, LogSNR

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
