"""Losses: any weight goes with any prediction, and training times follow their laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unnoise import loss, prediction
from unnoise.denoiser import Denoiser, Gaussian
from unnoise.loss import EDM as EDMWeight
from unnoise.loss import (
    P2,
    Denoising,
    Huber,
    Importance,
    Law,
    LogitNormal,
    LogNormal,
    MinSNR,
    Sigmoid,
    SoftMinSNR,
    Stratified,
    Uniform,
    Weight,
    absolute,
    square,
)
from unnoise.prediction import Prediction
from unnoise.schedule import EDM, VE, VP, Cosine, Flow, LinearBetas, QuadraticBetas, Schedule
from unnoise.tensor import Cond, Rng, expand

PREDICTIONS: dict[str, Prediction] = {
    name: member for name in prediction.__all__ if not isinstance(member := getattr(prediction, name), type) and name != "blind"
}  # a network that is not shown x_t is no denoiser of it
WEIGHTS: list[Weight] = [
    loss.snr, loss.one, loss.snr_plus_one, loss.score, MinSNR(), SoftMinSNR(), P2(0.5), EDMWeight(), Sigmoid(),
]  # fmt: skip
LAWS: list[Law] = [Uniform(), Stratified(), LogNormal(), LogitNormal(), Importance(100)]
SCHEDULES = [VP(), VE(), Cosine(), Flow(), EDM(), LinearBetas(100)]
X = Rng(range(6)).normal((3, 2), "x", dtype=torch.float64)
T = torch.tensor([0.02, 0.2, 0.4, 0.6, 0.8, 0.97], dtype=torch.float64)


class Same(nn.Module):
    """The network which makes of this prediction one and the same denoiser, half of x_t."""

    conds: dict[str, object] = {}

    def __init__(self, predict: Prediction, schedule: Schedule, t: Tensor) -> None:
        super().__init__()
        self.coefficients = [expand(c, X) for c in predict(*schedule(t))]

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        c_skip, c_out, c_in = self.coefficients
        return (0.5 - c_skip) / c_out * (x / c_in)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_loss_is_that_of_the_denoiser_whatever_it_predicts(name: str, weight: Weight) -> None:
    schedule = VP()
    model = Denoiser(Same(PREDICTIONS[name], schedule, T), schedule, PREDICTIONS[name])
    other = Denoiser(Same(prediction.x0, schedule, T), schedule, prediction.x0)
    for error in (square, absolute, Huber(0.3)):
        for per in ("t", "log_snr"):
            objective = Denoising(weight, error=error, per=per)
            found, expected = (objective.at(m, {"x": X}, T, Rng(range(6))) for m in (model, other))
            assert found.shape == (6,) and torch.allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_default_weight_is_the_plain_error_of_the_prediction(name: str) -> None:
    schedule, predict, rng = VP(), PREDICTIONS[name], Rng(range(6))
    network = Same(predict, schedule, T)
    found = Denoising().at(Denoiser(network, schedule, predict), {"x": X}, T, rng)
    eps, (alpha, sigma) = rng.normal((3, 2), "eps", dtype=torch.float64), (expand(c, X) for c in schedule(T))
    x_t = alpha * X + sigma * eps
    c_skip, c_out, c_in = network.coefficients
    target = (X - c_skip * x_t) / c_out
    assert torch.allclose(found, (network(c_in * x_t, T, {}) - target).square().mean((1, 2)), rtol=1e-8)


def test_weights_by_hand() -> None:
    """alpha = 0.6, sigma = 0.8: SNR = 9 / 16."""
    alpha, sigma, c_out = (torch.tensor([value]) for value in (0.6, 0.8, 0.5))
    expected: dict[Weight, float] = {
        loss.plain: 4.0,
        loss.snr: 0.5625,
        loss.one: 1.0,
        loss.snr_plus_one: 1.5625,
        loss.score: 0.36 / 0.4096,
        MinSNR(): 0.5625,
        MinSNR(0.1): 0.1,
        SoftMinSNR(0.5): 0.28125 / 1.0625,
        P2(1.0, 2.0): 0.5625 / 2.5625,
        EDMWeight(0.5): 4.5625,
        Sigmoid(math.log(0.5625)): 0.28125,
    }
    for weight, value in expected.items():
        assert weight(alpha, sigma, c_out).item() == pytest.approx(value)


def test_only_what_the_mask_shows_counts() -> None:
    model = Denoiser(Same(prediction.x0, VP(), T), VP(), prediction.x0)
    mask = torch.zeros_like(X)
    mask[:, 0] = 1
    whole = Denoising().at(model, {"x": X, "mask": mask}, T, Rng(range(6)))
    hidden = torch.where(mask == 1, X, 100.0)
    assert torch.allclose(Denoising().at(model, {"x": hidden, "mask": mask}, T, Rng(range(6))), whole)


def test_no_denoiser_beats_the_exact_one() -> None:
    schedule = VP()
    exact = Gaussian(schedule, torch.zeros(6), 0.25 * torch.eye(6))
    x, t, rng = 0.5 * Rng(range(4000)).normal((6,), "x", dtype=torch.float64), torch.full((4000,), 0.3).double(), Rng(range(4000))

    def mean(denoise: Callable[..., Tensor]) -> float:
        model = Denoiser(nn.Identity(), schedule, prediction.x0)
        model.forward = denoise  # type: ignore[method-assign]
        return float(Denoising(loss.one).at(model, {"x": x}, t, rng).mean())

    best = mean(exact)
    alpha, sigma = (float(c) for c in schedule(t[0]))
    assert best == pytest.approx(0.25 * sigma**2 / (0.25 * alpha**2 + sigma**2), rel=0.03)
    assert mean(lambda *given: 0.9 * exact(*given)) > best and mean(lambda *given: exact(*given) + 0.1) > best


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_training_times_lie_where_walks_go(law: Law, schedule: Schedule) -> None:
    rng = Rng(1, index=torch.arange(500))
    t = law(schedule, rng)
    assert t.shape == (500,) and t.dtype == torch.float64
    assert (t >= schedule.t_min).all() and (t <= 1).all() and t.std() > 0
    assert torch.equal(law(schedule, rng), t) and not torch.equal(law(schedule, rng.at(1)), t)


@pytest.mark.parametrize("law", [Uniform(), Stratified()], ids=repr)
def test_uniform_laws_cover_a_table_evenly(law: Law) -> None:
    table = QuadraticBetas(10)
    entries = (law(table, Rng(1, index=torch.arange(10_000))) * 10).round().long() - 1
    assert (entries.bincount(minlength=10) - 1000).abs().max() < 150


def test_stratified_times_spread_better_than_independent_ones() -> None:
    means = {law: [float(law(VP(), Rng(seed, index=torch.arange(16))).mean()) for seed in range(50)] for law in LAWS[:2]}
    spread = {law: float(torch.tensor(values).std()) for law, values in means.items()}
    assert spread[Stratified()] < spread[Uniform()] / 3


def test_normal_laws_have_their_quantiles() -> None:
    rng = Rng(1, index=torch.arange(20_000))
    sigma = EDM()(LogNormal(-1.2, 1.2)(EDM(), rng))[1].log()
    assert float(sigma.mean()) == pytest.approx(-1.2, abs=0.04) and float(sigma.std()) == pytest.approx(1.2, abs=0.03)
    u = LogitNormal(0.5, 0.8)(VE(), rng).logit()
    assert float(u.median()) == pytest.approx(0.5, abs=0.03) and float(u.std()) == pytest.approx(0.8, abs=0.02)
    assert math.isfinite(float(u.max()))


def test_errors_by_hand() -> None:
    d = torch.tensor([-3.0, -0.5, 0.0, 1.0])
    assert square(d).tolist() == [9, 0.25, 0, 1] and absolute(d).tolist() == [3, 0.5, 0, 1]
    assert Huber(1.0)(d).tolist() == [5, 0.25, 0, 1] and torch.equal(Huber(10.0)(d), d**2)
