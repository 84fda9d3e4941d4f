"""Predictions and levels: what a network's output means, and what it is told."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from unnoise import level, prediction
from unnoise.denoiser import Denoiser
from unnoise.prediction import Mean, Prediction
from unnoise.schedule import EDM, VE, VP, Cosine, Flow, LinearBetas, Schedule, Sigmas, SubVP, ZeroSNR
from unnoise.tensor import Cond, Rng, expand

SCHEDULES = [VP(), SubVP(), VE(), Cosine(), Flow(), EDM(), LinearBetas(50)]
CHAIN = LinearBetas(50)
MEMBERS: dict[str, Prediction] = {
    name: Mean(CHAIN) if name == "Mean" else getattr(prediction, name) for name in prediction.__all__
}
FREE = {name: member for name, member in MEMBERS.items() if name != "Mean"}


class Given(nn.Module):
    """A network that returns what it is told to, and remembers what it was given."""

    variance = False

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output, self.variance = output, False

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        self.x, self.level = x, level
        return self.output


def data(schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
    rng = Rng(range(len(t)))
    x, eps = (rng.normal((2, 3), name, dtype=torch.float64) for name in ("x", "eps"))
    alpha, sigma = (expand(c, x) for c in schedule(t))
    return x, eps, alpha * x + sigma * eps, (alpha, sigma)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("name", FREE)
def test_the_exact_target_gives_back_x(name: str, schedule: Schedule) -> None:
    """With the paper's target for F the denoiser returns x."""
    t = torch.tensor([0.02, 0.3, 0.9], dtype=torch.float64)
    x, eps, x_t, (alpha, sigma) = data(schedule, t)
    ratio = sigma / alpha
    targets = {
        "eps": eps,
        "x0": x,
        "blind": x,
        "v": alpha * eps - sigma * x,
        "score": -eps / sigma,
        "flow": eps - x,
        # Karras et al., eq. 8: (x - c_skip y) / c_out for y = x + r eps, with sigma_data = 1/2
        "edm": (x - 0.25 / (ratio**2 + 0.25) * (x + ratio * eps)) / (ratio / 2 / (ratio**2 + 0.25).sqrt()),
    }
    c_skip, c_out, _ = (expand(c, x) for c in FREE[name](*schedule(t)))
    assert torch.allclose(c_skip * x_t + c_out * targets[name], x, rtol=1e-8, atol=1e-9)


def test_the_mean_of_the_next_state_gives_back_x() -> None:
    t = CHAIN.times
    x, _, x_t, _ = data(CHAIN, t)
    c_x, c_t, _ = CHAIN.posterior(t - 1 / 50, t)
    mean = expand(c_x, x) * x + expand(c_t, x) * x_t
    assert torch.allclose(Denoiser(Given(mean), CHAIN, Mean(CHAIN))(x_t, t), x, rtol=1e-8, atol=1e-9)
    c_skip, c_out, _ = Mean(CHAIN)(*CHAIN(t[:1]))  # the first level's next state is the data
    assert c_skip.item() == pytest.approx(0, abs=1e-12) and c_out.item() == pytest.approx(1)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("name", ["eps", "x0", "v", "edm"])
def test_the_network_sees_unit_variance(name: str, schedule: Schedule) -> None:
    alpha, sigma = schedule(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64))
    power = 0.25 if name == "edm" else 1.0
    c_in = MEMBERS[name](alpha, sigma)[2]
    assert torch.allclose(c_in**2 * (alpha**2 * power + sigma**2), torch.ones(3).double())


def test_edm_keeps_its_target_at_unit_variance() -> None:
    alpha, sigma = VP()(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64))
    c_skip, c_out, _ = prediction.edm(alpha, sigma, sigma_data=0.7)
    variance = (0.49 * (1 - c_skip * alpha) ** 2 + (c_skip * sigma) ** 2) / c_out**2
    assert torch.allclose(variance, torch.ones(3).double())


@pytest.mark.parametrize("schedule", [Flow(), ZeroSNR(LinearBetas()), Cosine(math.inf, -math.inf)], ids=repr)
def test_predictions_that_divide_by_a_lost_signal_are_refused(schedule: Schedule) -> None:
    for name in ("v", "flow", "x0", "edm"):
        assert Denoiser(Given(torch.ones(1, 2)), schedule, MEMBERS[name])(torch.ones(1, 2), 1.0).isfinite().all()
    for name in ("eps", "score"):
        with pytest.raises(ValueError, match=f"{name!r} divides by alpha"):
            Denoiser(Given(torch.ones(1, 2)), schedule, MEMBERS[name])


def test_levels() -> None:
    chain, t = LinearBetas(), LinearBetas().times
    assert torch.allclose(level.index(chain, t), torch.arange(1000).double(), atol=1e-9)
    assert torch.allclose(level.rank(chain, t), torch.arange(999, -1, -1).double(), atol=1e-9)
    assert level.index(VP(), torch.ones(1)).item() == 999 and level.index(VP(), torch.ones(1), scale=0.25).item() == 249.75
    assert level.nearest(chain, torch.tensor([0.0107], dtype=torch.float64)).item() == 10
    assert level.time(VP(), torch.tensor([0.5])).item() == 499.5
    assert level.alpha(VP(), torch.zeros(1), scale=10.0).item() == 10
    assert level.sigma(VE(), torch.ones(1).double()).item() == pytest.approx(50)
    assert level.log_snr(Cosine(), torch.zeros(1).double()).item() == pytest.approx(15)
    assert level.c_noise(EDM(), torch.ones(1).double()).item() == pytest.approx(math.log(80) / 4)
    assert level.index(Sigmas([1.0, 2.0, 3.0]), torch.ones(1)).item() == 2


@pytest.mark.parametrize("name", level.__all__)
@pytest.mark.parametrize("schedule", [*SCHEDULES, ZeroSNR(LinearBetas())], ids=repr)
def test_levels_are_finite_at_both_ends(name: str, schedule: Schedule) -> None:
    assert getattr(level, name)(schedule, torch.tensor([0.0, 1.0], dtype=torch.float64)).isfinite().all()
