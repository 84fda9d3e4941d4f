"""Methods for inverse problems: exact where they claim it, biased where they say so, each by its formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from oracles import Scalar, mixture, normal
from torch import Tensor

import unnoise.sampler as samplers
from unnoise.denoiser import Denoise, Gaussian, Mixture
from unnoise.guidance import MMPS, Guided, PiGDM
from unnoise.operator import (
    Mask,
    Matrix,
    Measurement,
)
from unnoise.sampler import (
    DDIM,
    DDRM,
    DPS,
    RePaint,
    Replacement,
    Sampler,
    SDEdit,
    SplitGibbs,
    Twisted,
    UniPC,
)
from unnoise.schedule import EDM, VE, VP, Cosine, Flow, Schedule
from unnoise.tensor import Rng
from unnoise.times import Auto, Below, LogSNR, Times, Uniform

ROW = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
AUTO = Auto()
Y = torch.tensor([[0.7]], dtype=torch.float64)


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
    denoiser = Scalar(schedule)
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
        found[strength] = SDEdit(picture, DDIM())(Scalar(schedule), x, times)
    assert (found[0.05] - picture).abs().mean() < 0.1 < (found[0.5] - picture).abs().mean()
    whole = DDIM()(Scalar(schedule), samplers.prior(schedule, (1, 6, 6), 1.0, Rng(range(50))), LogSNR()(schedule, 20))
    torch.testing.assert_close(found[1.0], whole, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("schedule", [VP(), VE(), EDM(), Cosine(), Flow()], ids=repr)
def test_strength_is_one_noise_level_on_every_schedule(schedule: Schedule) -> None:
    (t, *_) = Below(0.5)(schedule, 8)
    alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    assert float(sigma / alpha) == pytest.approx(1.0, rel=1e-6)
    for rule in (Uniform(), LogSNR(), Auto()):
        times = Below(0.3, rule)(schedule, 7)
        assert len(times) == 7 and times[-1] == rule(schedule, 7)[-1]
