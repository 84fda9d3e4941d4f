"""The classic baselines: a variational autoencoder and an adversarial network, as objectives of one-time denoisers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from unnoise import prediction
from unnoise.condition import Condition
from unnoise.denoiser import Denoiser
from unnoise.loss import Adversarial, Autoencoding
from unnoise.model import load
from unnoise.network import Decoder, Encoder
from unnoise.recipe import Recipe, RecipeError
from unnoise.sampler import Moment
from unnoise.schedule import VP
from unnoise.task.likelihood import measure
from unnoise.task.train import build, build_objective, train
from unnoise.task.tune import tune
from unnoise.tensor import Cond, Rng
from unnoise.train import latest

SHAPE = (1, 6, 5)
CONDS = {"label": Condition(classes=("a", "b"))}


def batch(n: int = 6) -> dict[str, Tensor]:
    return {"x": Rng(range(n)).normal(SHAPE, "x").tanh(), "label": torch.arange(n) % 3}


def generator() -> Denoiser:
    torch.manual_seed(0)
    network = Decoder(SHAPE, CONDS, latent=4, width=8, multipliers=(1, 2), tanh=True)
    for parameter in network.out[-1].parameters():
        nn.init.normal_(parameter, std=0.2)
    return Denoiser(network, VP(), prediction.x0)


def adversarial(**options: float) -> Adversarial:
    torch.manual_seed(1)
    return Adversarial(SHAPE, CONDS, width=8, multipliers=(1, 2), **options)  # type: ignore[arg-type]


def gradients(module: nn.Module) -> list[Tensor]:
    return [torch.zeros(1) if p.grad is None else p.grad for p in module.parameters()]


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_each_player_is_moved_by_its_own_loss_alone(noise: float) -> None:
    """One backward pass through the objective gives what two passes through two losses would."""
    model, game = generator(), adversarial(r1=0.0, noise=noise)
    rng = Rng(0, torch.arange(6))
    of_real, of_made = game.players(model, batch(), rng)
    for alone, other, loss in ((game, model, of_real), (model, game, of_made)):
        model.zero_grad()
        game.zero_grad()
        loss.mean().backward(retain_graph=True)
        assert all(not g.any() for g in gradients(other)) and any(g.any() for g in gradients(alone))
    expected = gradients(model)
    model.zero_grad()
    game.zero_grad()
    game(model, batch(), rng).mean().backward()
    assert all(torch.allclose(a, b, atol=1e-8) for a, b in zip(gradients(model), expected, strict=True))
    assert any(g.any() for g in gradients(game)) and all(p.requires_grad for p in game.parameters())


class Slope(nn.Module):
    """A discriminator whose gradient is known: <w, x>."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(Rng(3).normal(SHAPE, "w")[0])

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        return (x * self.w).flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_penalty_is_the_squared_slope_and_its_share_makes_no_odds(share: float) -> None:
    game = adversarial(r1=2.0, share=share)
    game.discriminator = Slope()
    steep = game.penalty(generator(), batch())
    assert steep.shape == (6,) and int((steep != 0).sum()) == math.ceil(6 * share)
    assert float(steep.detach().mean()) == pytest.approx(float(game.discriminator.w.detach().square().sum()), rel=1e-5)
    steep.mean().backward()
    assert game.discriminator.w.grad is not None
    assert torch.allclose(game.discriminator.w.grad, 2 * game.discriminator.w, rtol=1e-5)


def test_the_losses_are_the_non_saturating_ones() -> None:
    model, game = generator(), adversarial(r1=0.0)
    game.discriminator = Slope()
    rng, x = Rng(0, torch.arange(6)), batch()["x"]
    noise = rng.normal(SHAPE, "eps")
    made = model(noise, 1.0, {"label": batch()["label"]})
    real, fake = ((value * game.discriminator.w).flatten(1).sum(1) for value in (x, made))
    expected = softplus(-real) + softplus(fake) + softplus(-fake)
    assert torch.allclose(game(model, batch(), rng), expected, atol=1e-4)
    assert torch.allclose(game.at(model, batch(), torch.rand(6), rng), expected, atol=1e-4)


def test_noise_reaches_further_while_the_discriminator_is_sure_and_its_law_is_half_at_zero() -> None:
    game = adversarial(noise=0.3, pace=60)
    start = float(game.reach)
    for sure, turn in ((1.0, 1), (-1.0, -1)):
        before = float(game.reach)
        game.hear(torch.full((6,), sure))
        assert float(game.reach) - before == pytest.approx(turn * 0.1)
    assert float(game.reach) == pytest.approx(start)
    for _ in range(30):
        game.hear(torch.ones(6))
    assert float(game.reach) == 1.0
    seen: list[Tensor] = []

    class Ear(nn.Module):
        def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
            seen.append(torch.stack([x.flatten(1).std(1), level]))
            return x.flatten(1)[:, :1]

    game.discriminator = Ear()
    x = torch.zeros(4000, *SHAPE)
    game.judged(generator(), x, {}, Rng(0, torch.arange(4000)), "real")
    spread, level = seen[0]
    assert 0.47 < float((spread == 0).float().mean()) < 0.53 and float(level.max()) > 990
    assert float(spread.max()) == pytest.approx(0.3, rel=0.6)  # 30 numbers a sample
    held = float(game.eval().reach)
    game.discriminator = Slope()
    game(generator(), batch(), Rng(0, torch.arange(6)))
    assert float(game.reach) == held  # nothing is learnt outside training


class Linear(nn.Module):
    """W z + b: x is then normal, N(b, W W^T + s^2)."""

    conds: dict[str, Condition] = {}
    latent = 2

    def __init__(self) -> None:
        super().__init__()
        q, _ = torch.linalg.qr(Rng(5).normal((5, 2), "w", dtype=torch.float64)[0])
        self.w, self.b = q * torch.tensor([1.5, 0.7]), Rng(6).normal((5,), "b", dtype=torch.float64)[0]
        self.parameter = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        return x[:, :2] @ self.w.T + self.b


class Posterior(nn.Module):
    """The exact q(z | x) of the above; columns of W are at right angles, so that it is a product."""

    def __init__(self, linear: Linear, s: float, off: float = 0.0) -> None:
        super().__init__()
        self.linear, self.s, self.off = linear, s, off

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        precision = self.linear.w.square().sum(0) + self.s**2
        mean = (x - self.linear.b) @ self.linear.w / precision + self.off
        return torch.cat([mean, (self.s**2 / precision).log().expand_as(mean)], 1)


def test_the_bound_of_a_linear_autoencoder_is_the_likelihood_where_its_encoder_is_exact() -> None:
    linear, s, n = Linear(), 0.4, 4000
    objective = Autoencoding((1, 5, 1), 2, width=8, multipliers=(1,))
    objective.log_deviation.data = torch.tensor(math.log(s), dtype=torch.float64)
    x = torch.linspace(-1, 1, 5, dtype=torch.float64).expand(n, 5)
    normal = torch.distributions.MultivariateNormal(linear.b, linear.w @ linear.w.T + s**2 * torch.eye(5, dtype=torch.float64))
    model, rng = Denoiser(linear, VP(), prediction.x0), Rng(0, torch.arange(n))
    exact = -float(normal.log_prob(x[0])) / 5
    means = []
    for off in (0.0, 0.5):
        objective.encoder = Posterior(linear, s, off)
        losses = objective(model, {"x": x}, rng)
        means.append(float(losses.detach().mean()))
        error = float(losses.detach().std()) / n**0.5
        if not off:
            assert means[0] == pytest.approx(exact, abs=4 * error)
    precision = linear.w.square().sum(0) + s**2
    gap = float((0.5**2 * precision / s**2).sum()) / 2 / 5  # KL(q | exact posterior): means moved by 0.5
    assert means[1] - exact == pytest.approx(gap, abs=6 * error)


@pytest.mark.parametrize("deviation", [None, 0.5])
def test_a_deviation_that_is_given_is_not_learnt(deviation: float | None, tmp_path: Path) -> None:
    change = [*LITTLE, "train.Trainer.steps=3", *([f"loss.Autoencoding.deviation={deviation}"] if deviation else [])]
    train(Recipe.read("vae-digits", change), tmp_path, device="cpu", report=False, say=lambda line: None)
    state = latest(tmp_path)
    assert state is not None
    kept = float(state.tensors["objective.log_deviation"].exp())
    assert kept == pytest.approx(deviation) if deviation else kept != 1.0


def test_a_decoder_looks_at_its_latent_alone() -> None:
    network = generator().network
    x = Rng(range(3)).normal(SHAPE, "x")
    level, cond = torch.ones(3), {"label": torch.tensor([0, 1, 2])}
    other = x.clone().flatten(1)
    other[:, 4:] = 0
    assert torch.equal(network(x, level, cond), network(other.reshape(x.shape), level, cond))
    assert network(x, level, cond).abs().max() <= 1
    with pytest.raises(ValueError, match="latent is 31; expected 1 to 30"):
        Decoder(SHAPE, latent=31)


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_hidden_layer_lets_the_class_say_where_a_latent_leads(hidden: int) -> None:
    network, drawn = Decoder(SHAPE, CONDS, latent=4, width=8, multipliers=(1, 2), hidden=hidden), []
    network.stem.register_forward_hook(lambda module, given, found: drawn.append(found))
    x = Rng([0]).normal(SHAPE, "x").expand(2, *SHAPE)
    network(x, torch.ones(2), {"label": torch.tensor([0, 1])})
    assert torch.equal(drawn[0][0], drawn[0][1]) == (not hidden)


@pytest.mark.parametrize("shape", [(1, 24, 40), (3, 7, 9), (2, 1, 1), (1, 33), (2, 4, 5, 6)], ids=str)
def test_an_encoder_answers_for_each_sample(shape: tuple[int, ...]) -> None:
    net = Encoder(shape, 3, CONDS, width=8, multipliers=(1, 2), hidden=16)
    x, level = torch.randn(3, *shape), torch.tensor([0.0, 0.0, 500.0])
    label = torch.tensor([0, 1, 2])
    y = net(x, level, {"label": label})
    assert y.shape == (3, 3) and torch.allclose(net(x[1:], level[1:], {"label": label[1:]}), y[1:], atol=1e-6)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert not torch.allclose(net(x, level, {"label": label.flip(0)})[0], y[0])
    assert torch.equal(net(x, level, {}), net(x, level, {"label": torch.full((3,), 2)}))


BASELINES = ["vae-digits", "gan-digits"]
LITTLE = ["network.Decoder.width=8", "train.Trainer.batch=8", "train.Trainer.save_every=4", "train.Trainer.tensorboard=false"]


@pytest.mark.parametrize("name", [*BASELINES, "noise"])
def test_a_stopped_run_goes_on_to_the_same_bits_and_is_sampled_in_one_evaluation(name: str, tmp_path: Path) -> None:
    change = [*LITTLE, "train.Trainer.decay=constant", "train.Trainer.warmup=0", "train.Trainer.preview_every=0"]
    change += ["loss.Adversarial.noise=0.05"] if name == "noise" else []
    found = []
    for folder, halves in (("one", (7,)), ("two", (4, 7))):
        for steps in halves:
            recipe = Recipe.read("gan-digits" if name == "noise" else name, [*change, f"train.Trainer.steps={steps}"])
            if folder == "two" and steps == 7:
                assert latest(tmp_path / folder)
            train(recipe, tmp_path / folder, device="cpu", report=False, say=lambda line: None)
        state = latest(tmp_path / folder)
        assert state is not None
        found.append(state.tensors)
    one, two = found
    assert one.keys() == two.keys() and any(key.startswith("optimizer.exp_avg.objective.") for key in one)
    assert all(torch.equal(one[key], two[key]) for key in one)
    model = load(tmp_path / "two")
    seen: list[Moment] = []
    x = model.sample(3, callback=seen.append)
    assert x.shape == (3, 1, 8, 8) and [moment.nfe for moment in seen] == [1]
    with pytest.raises(ValueError, match="answers at t = 1 alone; 1 is expected, given 5"):
        model.sample(1, steps=5)
    for task in (lambda: measure(model), lambda: tune(tmp_path / "two", [4])):
        with pytest.raises(ValueError, match="answers at t = 1 alone"):
            task()


def test_the_networks_of_an_objective_are_keyed_by_the_seed() -> None:
    recipe = Recipe.read("gan-digits")
    model = build(recipe, 0)
    states = [build_objective(recipe, model, seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["discriminator.head.weight"], states[2]["discriminator.head.weight"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["loss.Adversarial.share=0"], r"\[loss.Adversarial\]: share is 0.*expected above 0"),
        (["loss.Autoencoding.deviation=0"], "deviation is 0.*expected a positive number"),
        (["loss.Adversarial.r1=-1"], "r1 is -1.*no number below 0"),
        (["loss.Autoencoding.width=8", "network.UNet.width=8"], "reads no latent from the noise; use network.Decoder"),
    ],
)
def test_what_does_not_fit_is_refused(change: list[str], said: str) -> None:
    recipe = Recipe.read("gan-digits", change)
    with pytest.raises(RecipeError, match=said):
        build_objective(recipe, build(recipe, 0), 0)
