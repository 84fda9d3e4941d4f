"""What holds for every noising, and the closed forms of each."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor

from unnoise import schedule as room
from unnoise.denoiser import Mixture
from unnoise.schedule import (
    EDM,
    VE,
    VP,
    Chords,
    Cosine,
    CosineBetas,
    Discrete,
    Flow,
    Laplace,
    Learned,
    LinearBetas,
    QuadraticBetas,
    ScaledLinearBetas,
    Schedule,
    Shifted,
    Sigmas,
    SigmoidBetas,
    SubVP,
    Table,
    ZeroSNR,
)
from unnoise.schedule.density import marginal
from unnoise.schedule.discrete import betas_of

BUILT = {
    "Discrete": Discrete([0.1, 0.3, 0.2, 0.6]),
    "Sigmas": Sigmas([0.1, 0.5, 0.6, 20.0]),
    "ZeroSNR": ZeroSNR(LinearBetas()),
    "Chords": Chords(LinearBetas()),
    "Shifted": Shifted(Cosine(), -3.0),
    "Learned": Learned(32),
}
MEMBERS = {
    name: BUILT[name] if name in BUILT else getattr(room, name)()
    for name in room.__all__
    if not inspect.isabstract(getattr(room, name))
}
TABLES = {name: member for name, member in MEMBERS.items() if isinstance(member, Table)}
every = pytest.mark.parametrize("schedule", MEMBERS.values(), ids=MEMBERS.keys())
every_table = pytest.mark.parametrize("schedule", TABLES.values(), ids=TABLES.keys())


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(a: Tensor, b: Tensor, rtol: float = 1e-12, atol: float = 1e-14) -> bool:
    return torch.allclose(a, b, rtol=rtol, atol=atol)


def times(schedule: Schedule, n: int = 41) -> Tensor:
    """From the end of walks to 1, both included."""
    return torch.linspace(schedule.t_min, 1, n, dtype=torch.float64)


@every
@torch.no_grad()
def test_signal_and_noise_are_positive_and_the_ratio_falls(schedule: Schedule) -> None:
    alpha, sigma = schedule(times(schedule))
    assert alpha.dtype == sigma.dtype == torch.float64
    assert (alpha[:-1] > 0).all() and alpha[-1] >= 0 and (sigma > 0).all()
    assert (schedule.log_snr(times(schedule, 999)).diff() < 0).all()


@every
@torch.no_grad()
def test_time_is_the_inverse_of_log_snr(schedule: Schedule) -> None:
    t = times(schedule)
    assert close(schedule.time(schedule.log_snr(t)), t, rtol=0, atol=1e-11)
    far = schedule.time(double(1e9, -1e9))
    assert (far >= 0).all() and (far <= 1).all() and far[1] == 1


@every
@torch.no_grad()
def test_steps_compose_to_the_jump(schedule: Schedule) -> None:
    """q(x_t | x) is q(x_s | x) followed by q(x_t | x_s)."""
    t = times(schedule)
    (alpha, sigma), (scale, std) = schedule(t), schedule.transition(t[:-1], t[1:])
    assert close(scale * alpha[:-1], alpha[1:])
    assert close(std**2 + (scale * sigma[:-1]) ** 2, sigma[1:] ** 2, rtol=1e-10)


@every
@torch.no_grad()
def test_the_posterior_gives_back_the_marginal(schedule: Schedule) -> None:
    """q(x_s | x) is q(x_s | x_t, x) averaged over q(x_t | x), and Bayes's rule holds for the pair."""
    t = times(schedule)
    (alpha, sigma), (scale, _) = schedule(t), schedule.transition(t[:-1], t[1:])
    c_x, c_t, std = schedule.posterior(t[:-1], t[1:])
    assert close(c_x + c_t * alpha[1:], alpha[:-1], rtol=1e-10)
    assert close(std**2 + (c_t * sigma[1:]) ** 2, sigma[:-1] ** 2, rtol=1e-10)
    assert close(c_t * sigma[1:] ** 2, scale * sigma[:-1] ** 2, rtol=1e-10)  # covariance of x_s and x_t given x


@every
def test_rates_and_the_equation_are_limits_of_steps(schedule: Schedule) -> None:
    step = 1e-6
    t = times(schedule, 24)[3:-3] + 2e-4  # off the entries of tables, where slopes jump
    (early, noise), (late, more) = (tuple(part.detach() for part in schedule(at)) for at in (t - step, t + step))
    d_alpha, d_sigma = schedule.rates(t)
    assert torch.allclose(d_alpha, (late - early) / (2 * step), rtol=1e-4, atol=1e-5)
    assert torch.allclose(d_sigma, (more - noise) / (2 * step), rtol=1e-4, atol=1e-5)
    f, g = (part.detach() for part in schedule.sde(t))
    scale, std = (part.detach() for part in schedule.transition(t, t + step))
    assert torch.allclose((scale - 1) / step, f, rtol=1e-3, atol=1e-3)
    assert torch.allclose(std**2 / step, g**2, rtol=1e-3, atol=1e-5)


@every
@torch.no_grad()
def test_uniform_times_are_within_a_walk(schedule: Schedule) -> None:
    t = schedule.uniform(double(1e-9, 0.3, 1 - 1e-9))
    assert (t >= schedule.t_min).all() and (t <= 1).all() and (t.diff() >= 0).all()


@every_table
def test_a_table_is_exact_on_its_times_and_clean_at_0(schedule: Table) -> None:
    alpha, sigma = schedule(schedule.times)
    assert torch.equal(alpha, schedule.alphas) and torch.equal(sigma, schedule.sigmas)
    assert torch.equal(schedule.time(schedule.log_snr(schedule.times)), schedule.times)
    assert [part.item() for part in schedule(double(0))] == [1, 0]
    c_x, c_t, std = schedule.posterior(double(0), schedule.times[:1])
    assert (c_x.item(), c_t.item(), std.item()) == (pytest.approx(1, rel=1e-15), 0, 0)


@every_table
def test_between_entries_log_sigma_over_alpha_is_linear(schedule: Table) -> None:
    if schedule.alphas[-2:].min() == 0 or isinstance(schedule, Chords):
        pytest.skip("the last step loses the signal, or it is sigma / alpha itself that is linear")
    left, right = schedule.log_snr(schedule.times[-2:])
    middle = schedule.log_snr(schedule.times[-2:].mean()[None])
    assert close(middle, (left + right) / 2)


@every_table
def test_below_the_first_entry_the_variance_grows_linearly(schedule: Table) -> None:
    ratios = [sigma / alpha for alpha, sigma in (schedule(schedule.times[:1] / 2), schedule(schedule.times[:1]))]
    assert close(2 * ratios[0] ** 2, ratios[1] ** 2, rtol=1e-10)


@pytest.mark.parametrize("schedule", [s for s in TABLES.values() if isinstance(s, Discrete)], ids=repr)
def test_one_step_of_a_chain_is_its_beta(schedule: Discrete) -> None:
    t = schedule.times
    scale, std = schedule.transition(t - 1 / len(t), t)
    assert close(std**2, schedule.betas, rtol=1e-15, atol=0) and close(scale, (1 - schedule.betas).sqrt())
    _, two = schedule.transition(t[1:] - 2 / len(t), t[1:])
    assert close(two**2, 1 - (1 - schedule.betas[1:]) * (1 - schedule.betas[:-1]), rtol=1e-10)
    assert close(schedule.alphas, (1 - schedule.betas).cumprod(0).sqrt(), rtol=1e-14)


def test_a_chain_of_two_by_hand() -> None:
    chain = Discrete([0.36, 0.75])
    assert close(chain.alphas, double(0.8, 0.4)) and close(chain.sigmas, double(0.6, math.sqrt(0.84)))
    c_x, c_t, std = chain.posterior(double(0.5), double(1.0))
    # q(x_1 | x_2, x): mean sqrt(abar_1) beta_2 / (1 - abar_2) x + sqrt(1 - beta_2) (1 - abar_1) / (1 - abar_2) x_2
    assert close(c_x, double(0.8 * 0.75 / 0.84)) and close(c_t, double(0.5 * 0.36 / 0.84))
    assert close(std**2, double(0.75 * 0.36 / 0.84))


def test_published_tables() -> None:
    assert close(LinearBetas().betas[[0, 499, -1]], double(1e-4, 1e-4 + 0.0199 * 499 / 999, 0.02))
    assert close(LinearBetas(100).betas[[0, -1]], double(1e-3, 0.2))
    assert close(ScaledLinearBetas().betas[[0, -1]], double(0.00085, 0.012))
    assert close(QuadraticBetas().betas[[0, 333, -1]], double(1e-4, (0.01 + (math.sqrt(0.02) - 0.01) / 3) ** 2, 0.02))
    f = [math.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(1001)]
    assert close(CosineBetas().alphas[[0, 499, 900]] ** 2, double(f[1] / f[0], f[500] / f[0], f[901] / f[0]), rtol=1e-10)
    assert CosineBetas().betas[-1] == 0.999
    high, low = (1 / (1 + math.exp(-x)) for x in (3, -3))
    quarter = 1 / (1 + math.exp(1.5))
    assert close(SigmoidBetas().alphas[[249, 499]] ** 2, double((high - quarter) / (high - low), 0.5), rtol=1e-10)
    assert close(betas_of(lambda t: 1 - t, 4), double(1 / 4, 1 / 3, 1 / 2, 0.999))


def test_zero_terminal_snr() -> None:
    before, after = ScaledLinearBetas(), ZeroSNR(ScaledLinearBetas())
    assert after.alphas[-1] == 0 and after.betas[-1] == 1
    assert close(after.alphas[0], before.alphas[0])
    first, last = before.alphas[0], before.alphas[-1]
    assert close(after.alphas, first * (before.alphas - last) / (first - last), rtol=1e-9)
    alpha, sigma = after(double(0.9995))  # half a step before the end: half of what signal there is a whole step before
    assert close(alpha / sigma, after.alphas[-2] / after.sigmas[-2] / 2, rtol=1e-9)


def test_published_formulas() -> None:
    t = double(0.25, 0.5)
    assert close(VP()(t)[0], double(math.exp(-(0.25**2) * 19.9 / 4 - 0.0125), math.exp(-(0.5**2) * 19.9 / 4 - 0.025)))
    assert close(SubVP()(t)[1], VP()(t)[1] ** 2)
    assert close(VE()(t)[1], double(0.01 * 5000**0.25, 0.01 * 5000**0.5))
    assert close(EDM()(double(0, 0.5, 1))[1], double(0.002, ((0.002 ** (1 / 7) + 80 ** (1 / 7)) / 2) ** 7, 80.0))
    assert close(Cosine(math.inf, -math.inf)(t)[0], (t * math.pi / 2).cos())
    assert close(Cosine().log_snr(double(0, 0.5, 1)), double(15, 0, -15), atol=1e-9)
    assert close(Flow()(t)[0], 1 - t) and close(Flow()(t)[1], t)
    # Quartiles of Laplace's law lie scale log 2 from its mean.
    wide = Laplace(mean=1.0, scale=0.5, log_snr_max=40, log_snr_min=-40)
    assert close(wide.log_snr(double(0.25, 0.5, 0.75)), double(1 + math.log(2) / 2, 1, 1 - math.log(2) / 2))
    assert close(Laplace().log_snr(double(0, 1)), double(10, -10))


@pytest.mark.parametrize("schedule", [VP(), SubVP()], ids=repr)
def test_the_equations_of_the_papers(schedule: VP) -> None:
    t = double(0.01, 0.3, 1.0)
    beta = 0.1 + t * 19.9
    f, g = schedule.sde(t)
    rest = 1 - schedule(t)[0] ** 4 if isinstance(schedule, SubVP) else torch.ones_like(t)
    assert close(f, -beta / 2) and close(g, (beta * rest).sqrt(), rtol=1e-10)


def test_shifting_the_log_snr_is_the_shift_of_flows() -> None:
    t = double(0.1, 0.5, 0.9)
    assert close(Flow(shift=3.0).log_snr(t), Shifted(Flow(), -2 * math.log(3)).log_snr(t))
    alpha, sigma = Shifted(VP(), -2.0)(t)
    assert close(alpha**2 + sigma**2, torch.ones(3).double()) and close(VP().log_snr(t) - 2, Shifted(VP(), -2.0).log_snr(t))
    assert Shifted(LinearBetas(), 1.0).t_min == 1e-3


def test_a_learned_schedule_stays_monotone_and_learns() -> None:
    schedule = Learned(2)
    with torch.no_grad():  # two steps, at t = 1/4 and 3/4, whose logarithmic weights have opposite signs
        for parameter, values in zip(schedule.parameters(), ([-9.0], [3.7, 3.7], [-2.0, 2.0], [-10.0, -30.0]), strict=True):
            parameter.copy_(torch.tensor(values))
    t = double(*[i / 50 for i in range(51)])
    assert (schedule.log_snr(t).diff() < 0).all()
    assert close(schedule.log_snr(double(0, 1)), double(13.3, -5))
    alpha, _ = schedule(double(0.4))
    alpha.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in schedule.parameters())
    assert set(dict(torch.nn.Module.named_parameters(schedule))) == {"straight", "inner", "outer", "bias"}


def test_rates_under_inference_mode() -> None:
    with torch.inference_mode():
        assert torch.equal(VP().rates(double(0.5))[0], VP().rates(double(0.5))[0])


@pytest.mark.parametrize("betas", [[0.1], [0.1, 1.0, 0.2], [0.0, 0.1], [0.1, -0.2], [0.1, 1.1]])
def test_betas_outside_the_unit_interval_are_refused(betas: list[float]) -> None:
    with pytest.raises(ValueError, match="betas"):
        Discrete(betas)


@pytest.mark.parametrize("sigmas", [[1.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [1.0, math.inf]])
def test_sigmas_that_do_not_rise_are_refused(sigmas: list[float]) -> None:
    with pytest.raises(ValueError, match="sigmas"):
        Sigmas(sigmas)


@pytest.mark.parametrize("t", [0.01, 0.2, 0.6, 1.0])
def test_the_density_of_noised_data(t: float) -> None:
    """The convolution on a grid against the closed form, in one dimension and in two."""
    weights, means, stds = double(0.3, 0.7), double(-1.0, 1.5), double(0.5, 0.3)
    mixture = Mixture(VP(), weights, means[:, None], stds[:, None, None] ** 2)
    alpha, sigma = (float(part) for part in VP()(double(t)))
    axis = torch.linspace(-7, 7, 701, dtype=torch.float64)
    density = mixture.log_prob(axis[:, None], 0.0).exp()
    noised = marginal(density, axis, alpha=alpha, sigma=sigma)
    assert torch.allclose(noised, mixture.log_prob(axis[:, None], t).exp(), atol=2e-4)
    assert float(noised.sum() * 0.02) == pytest.approx(1, abs=1e-4)

    flat = Mixture(VP(), weights, torch.stack([means, -means], 1), torch.diag_embed(torch.stack([stds, 2 * stds], 1) ** 2))
    rows, columns = torch.linspace(-6, 6, 151, dtype=torch.float64), torch.linspace(-7, 7, 141, dtype=torch.float64)
    grid = torch.cartesian_prod(rows, columns)
    density = flat.log_prob(grid, 0.0).exp().reshape(151, 141)
    noised = marginal(density, rows, columns, alpha=alpha, sigma=sigma)
    assert torch.allclose(noised, flat.log_prob(grid, t).exp().reshape(151, 141), atol=1e-2)


def test_chords_are_straight_in_the_ratio() -> None:
    chain, chords = LinearBetas(), Chords(LinearBetas())
    assert all(torch.equal(a, b) for a, b in zip(chain(chain.times), chords(chain.times), strict=True))
    alpha, sigma = chords(double(0.0105, 0.5005))
    ratio = chain.sigmas / chain.alphas
    assert close(sigma / alpha, torch.stack([ratio[9:11].mean(), ratio[499:501].mean()]))
