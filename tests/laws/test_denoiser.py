"""Denoisers: the learned one's arithmetic, and the exact ones against derivatives and textbook formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unnoise import prediction
from unnoise.condition import Condition
from unnoise.denoiser import Denoise, Denoiser, Empirical, Gaussian, Mixture, score
from unnoise.guidance import CFG, Guided
from unnoise.schedule import EDM, VE, VP, Flow, LinearBetas, Schedule
from unnoise.tensor import Cond, Rng

SCHEDULES = [VP(), VE(), Flow(), EDM(), LinearBetas()]
every = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
T = 0.4


def mixture(schedule: Schedule, classes: list[int] | None = None) -> Mixture:
    rng = Rng([1, 2, 3])
    means, roots = rng.normal((2,), "mean", dtype=torch.float64), rng.normal((2, 2), "root", dtype=torch.float64)
    return Mixture(schedule, torch.tensor([0.2, 0.5, 0.3]), 2 * means, roots @ roots.mT / 2, classes)


def points(n: int = 5) -> Tensor:
    return 2 * Rng(range(n)).normal((2,), "points", dtype=torch.float64)


def label(number: int, n: int = 5) -> dict[str, Tensor]:
    return {"label": torch.full((n,), number)}


class Linear(nn.Module):
    """F(x, level, cond) = a x, with as many channels more where it learns a variance."""

    def __init__(self, a: float, variance: bool = False) -> None:
        super().__init__()
        self.a, self.variance, self.conds = a, variance, {"label": Condition(classes=("a", "b"))}

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        self.seen = dict(cond)
        return torch.cat([self.a * x, 0 * x + 0.5], 1) if self.variance else self.a * x


@every
def test_all_of_them_speak_the_protocol(schedule: Schedule) -> None:
    members: list[Denoise] = [
        mixture(schedule),
        Gaussian(schedule, torch.zeros(2), torch.eye(2)),
        Empirical(schedule, points()),
        Denoiser(Linear(0.5), schedule, prediction.v),
    ]
    for member in members:
        assert isinstance(member, Denoise)
        for dtype in (torch.float32, torch.float64):
            x_t = points().to(dtype)
            x0 = member(x_t, T)
            assert x0.shape == x_t.shape and x0.dtype == dtype and x0.isfinite().all()
            assert torch.allclose(member(x_t, torch.full((5,), T)), x0, rtol=1e-5, atol=1e-6)
            assert torch.allclose(member(x_t[2:3], T), x0[2:3], rtol=1e-5, atol=1e-6)  # rows do not mix


def test_a_network_is_told_all_conditions_and_its_variance_is_set_aside() -> None:
    network = Linear(2.0, variance=True)
    denoiser, x_t = Denoiser(network, VP(), prediction.eps), torch.ones(3, 4, 2, 2)
    answer = denoiser.answer(x_t, T)
    alpha, sigma = (float(c) for c in VP()(torch.tensor(T).double()))
    assert torch.allclose(answer.x0, x_t * (1 - 2 * sigma) / alpha)
    assert answer.variance is not None and answer.variance.shape == x_t.shape and (answer.variance == 0.5).all()
    assert network.seen["label"].tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match="did you mean 'label'"):
        denoiser(x_t, T, {"lable": torch.zeros(3)})


def test_a_projection_is_applied_to_the_answer() -> None:
    denoiser = Denoiser(Linear(1.0), VP(), prediction.x0, project=lambda x, cond: x - x.mean(1, keepdim=True))
    assert torch.allclose(denoiser(points(), T).mean(1), torch.zeros(5).double(), atol=1e-12)


def test_one_gaussian_by_hand() -> None:
    """x ~ N(1, 4), x_t = x + 3 eps: E[x | x_t = 5] = 1 + 4 / 13 (5 - 1), with variance 4 9 / 13."""
    flat = EDM(0.0, 6.0, rho=1.0)  # sigma = 6 t
    gaussian = Gaussian(flat, torch.ones(1), 4 * torch.eye(1))
    x_t = torch.tensor([[5.0]], dtype=torch.float64)
    assert gaussian(x_t, 0.5).item() == pytest.approx(1 + 16 / 13)
    assert gaussian.posterior_covariance(x_t, 0.5).item() == pytest.approx(36 / 13)
    assert gaussian.score(x_t, 0.5).item() == pytest.approx(-4 / 13)


@every
def test_the_score_is_the_slope_of_log_prob(schedule: Schedule) -> None:
    exact, x_t = mixture(schedule), points().requires_grad_()
    (slope,) = torch.autograd.grad(exact.log_prob(x_t, T).sum(), x_t)
    assert torch.allclose(exact.score(x_t, T), slope, rtol=1e-9)
    alpha, sigma = (c.expand(5) for c in schedule(torch.tensor([T], dtype=torch.float64)))
    assert torch.allclose(score(x_t, exact(x_t, T), alpha, sigma), slope, rtol=1e-6, atol=1e-9)


@every
def test_the_covariance_is_the_slope_of_the_mean(schedule: Schedule) -> None:
    """Cov[x | x_t] = sigma^2 / alpha dE[x | x_t] / dx_t."""
    exact, x_t = mixture(schedule), points()
    jacobian = torch.autograd.functional.jacobian(lambda rows: exact(rows, T).sum(0), x_t).permute(1, 0, 2)
    alpha, sigma = schedule(torch.tensor(T, dtype=torch.float64))
    assert torch.allclose(exact.posterior_covariance(x_t, T), sigma**2 / alpha * jacobian, rtol=1e-7, atol=1e-10)


def test_log_prob_integrates_to_one() -> None:
    axis = torch.linspace(-14, 14, 281, dtype=torch.float64)
    density = mixture(VP()).log_prob(torch.cartesian_prod(axis, axis), 0.1).exp()
    assert float(density.sum() * 0.1**2) == pytest.approx(1, abs=1e-4)


@every
def test_a_data_set_is_a_mixture_of_points(schedule: Schedule) -> None:
    data = points(7)
    spikes = Mixture(schedule, torch.ones(7), data, torch.zeros(7, 2, 2))
    assert torch.allclose(Empirical(schedule, data)(points(), T), spikes(points(), T), rtol=1e-8)


def test_labels_leave_the_components_of_their_class() -> None:
    both, x_t = mixture(VP(), [0, 1, 0]), points()
    alone = Gaussian(VP(), both.means[1], both.covariances[1])
    assert torch.allclose(both(x_t, T, label(1)), alone(x_t, T))
    assert torch.allclose(both.log_prob(x_t, T, label(1)), alone.log_prob(x_t, T))
    plain = mixture(VP())
    for cond in (None, {}, label(2)):  # the null is the class after the last
        assert torch.equal(both(x_t, T, cond), plain(x_t, T))
    with pytest.raises(ValueError, match="no condition"):
        plain(x_t, T, label(0))


def test_the_exact_classifier_obeys_bayes() -> None:
    both, x_t = mixture(VP(), [0, 1, 0]), points()
    log_class = both.log_class(x_t, T)
    assert torch.allclose(log_class.exp().sum(1), torch.ones(5).double())
    expected = both.log_prob(x_t, T, label(0)) + torch.tensor(0.5).double().log() - both.log_prob(x_t, T)
    assert torch.allclose(log_class[:, 0], expected)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
@every
def test_classifier_free_guidance_of_a_mixture(schedule: Schedule, scale: float) -> None:
    """grad log p(x_t) + scale grad log p(label | x_t), in closed form; 1 is no guidance, 0 no label."""
    both, x_t = mixture(schedule, [0, 1, 0]), points()
    guided = Guided(both, CFG(scale))(x_t, T, label(0))
    rows = x_t.clone().requires_grad_()
    (slope,) = torch.autograd.grad(both.log_class(rows, T)[:, 0].sum(), rows)
    alpha, sigma = schedule(torch.tensor(T, dtype=torch.float64))
    assert torch.allclose(guided, both(x_t, T) + scale * sigma**2 / alpha * slope, rtol=1e-8, atol=1e-10)
    if scale == 1:
        assert torch.equal(guided, both(x_t, T, label(0)))


def test_a_measurement_by_hand() -> None:
    """x ~ N(0, diag(1, 4)) and y = x_1 + x_2 + eps / 2 = 3: the Kalman gain is (1, 4) / 5.25."""
    prior = Gaussian(VP(), torch.zeros(2), torch.diag(torch.tensor([1.0, 4.0])))
    a, y = torch.ones(1, 2).double(), torch.tensor([3.0]).double()
    posterior = prior.given(a, y, 0.5)
    gain = torch.tensor([1.0, 4.0], dtype=torch.float64) / 5.25
    assert torch.allclose(posterior.means[0], 3 * gain)
    assert torch.allclose(posterior.covariances[0], prior.covariances[0] - 5.25 * torch.outer(gain, gain))
    expected = -(9 / 5.25 + torch.tensor(2 * torch.pi * 5.25).double().log()) / 2
    assert torch.allclose(prior.log_evidence(a, y, 0.5), expected)


def test_a_measurement_weighs_the_components() -> None:
    """log p(x | y) = log p(y | x) + log p(x) - log p(y), at any x."""
    flat = EDM(0.0, 1.0, rho=1.0)
    prior, x = mixture(flat, [0, 1, 0]), points()
    a, y, std = torch.tensor([[1.0, -0.5]]).double(), torch.tensor([0.7]).double(), 0.3
    likelihood = torch.distributions.Normal((x @ a.T)[:, 0], std).log_prob(y)
    posterior = prior.given(a, y, std)
    assert torch.allclose(posterior.log_prob(x, 0.0), likelihood + prior.log_prob(x, 0.0) - prior.log_evidence(a, y, std))
    assert posterior.conds == prior.conds
