"""Laws of self-conditioning: what a row recalls is its own last answer, in its own walk, and nothing where it may not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unnoise.condition import Condition
from unnoise.denoiser import ESTIMATE, SelfConditioned
from unnoise.denoiser.vjp import answer_with_vjp
from unnoise.guidance import CFG, Guided
from unnoise.loss.base import noised
from unnoise.network import MLP
from unnoise.prediction import v, x0
from unnoise.recipe import Recipe
from unnoise.sampler import DDIM, Ancestral, Heun
from unnoise.schedule import Cosine
from unnoise.task.train import assemble, train
from unnoise.tensor import Cond, Rng

SHAPE = (3, 4, 4)
TIMES = [0.9, 0.7, 0.5, 0.3, 0.1]


class Sum(nn.Module):
    """A network of sums, so that a row's bits do not depend on its batch; it keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.conds = {**SelfConditioned.own(SHAPE), "label": Condition(classes=("a", "b"))}
        self.seen: list[Tensor] = []
        self.weight = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        self.seen.append(cond[ESTIMATE])
        return self.weight * x + 0.5 * cond[ESTIMATE].nan_to_num(0.0) + 0.1 * cond["label"][:, None, None, None]


def denoiser() -> SelfConditioned:
    return SelfConditioned(Sum(), Cosine(), x0)


def start(seeds: range) -> tuple[Tensor, Rng]:
    rng = Rng(seeds)
    return rng.normal(SHAPE, "x"), rng


@pytest.mark.parametrize("sampler", [DDIM(), Ancestral()], ids=repr)
@torch.no_grad()
def test_each_step_sees_the_answer_of_the_step_before(sampler: DDIM) -> None:
    model, (x, rng) = denoiser(), start(range(3))
    moments = list(sampler.walk(model, x, TIMES, None, rng))
    seen = model.network.seen
    assert seen[0].isnan().all() and len(seen) == len(TIMES) == moments[-1].nfe
    assert all(torch.equal(shown, before.x0) for shown, before in zip(seen[1:], moments, strict=False))
    again = sampler(model, x, TIMES, None, rng)
    assert torch.equal(again, moments[-1].x), "a walk begins without what another one answered"
    model(x, 0.5)
    assert model.network.seen[-1].isnan().all(), "outside of walks nothing is recalled"


@pytest.mark.parametrize("sampler", [DDIM(), Ancestral(), Heun()], ids=repr)
@pytest.mark.parametrize("guided", [False, True])
@torch.no_grad()
def test_a_row_is_the_same_in_any_company(sampler: DDIM, guided: bool) -> None:
    """With guidance too, whose halves recall each their own, and which acts between two levels of noise alone."""
    model, (x, rng) = denoiser(), start(range(5))
    belief = Guided(model, CFG(2.0, interval=(0.3, 2.0))) if guided else model
    label = torch.tensor([0, 1, 0, 1, 1])
    whole = sampler(belief, x, TIMES, {"label": label}, rng)
    for i in range(5):
        rows = slice(i, i + 1)
        assert torch.equal(sampler(belief, x[rows], TIMES, {"label": label[rows]}, rng[rows]), whole[rows])
    if guided:
        doubled = [shown for shown in model.network.seen[: len(TIMES)] if len(shown) == 10]
        assert len(doubled) > 1 and all(not torch.equal(shown[:5], shown[5:]) for shown in doubled[1:])


@torch.no_grad()
def test_what_is_differentiated_is_a_function_of_x_t_alone() -> None:
    model, (x, _) = denoiser(), start(range(2))
    walking = model.begin()
    walking.answer(x, 0.9)
    answer, vjp = answer_with_vjp(walking, x, 0.5)
    assert torch.equal(answer.x0, model(x, 0.5)) and torch.allclose(vjp(torch.ones_like(x)), torch.full_like(x, 0.3), atol=1e-6)
    assert not torch.equal(walking.answer(x, 0.5).x0, answer.x0)


def test_training_shows_half_of_the_rows_what_is_answered_without() -> None:
    model, n = denoiser(), 2000
    t, rng = torch.full((n,), 0.6, dtype=torch.float64), Rng(4, torch.arange(n))
    at = noised(model, {"x": rng.normal(SHAPE, "data")}, t, rng)
    shown = at.cond[ESTIMATE]
    given = ~shown.isnan().flatten(1).any(1)
    assert abs(float(given.double().mean()) - 0.5) < 0.06 and not shown.requires_grad
    with torch.no_grad():
        assert torch.equal(shown[given], model(at.x_t, t)[given])
    assert torch.equal(noised(model, {"x": at.x[7:90]}, t[7:90], rng[7:90]).cond[ESTIMATE].isnan(), shown[7:90].isnan())
    one = next(i for i in range(n) if not given[i])
    alone = noised(model, {"x": at.x[one : one + 1]}, t[:1], rng[one : one + 1])
    assert alone.cond[ESTIMATE].isnan().all()


def test_weights_learn_under_autocast() -> None:
    """Casts of weights made without gradient would be taken again where one is wanted."""
    model = SelfConditioned(MLP(SHAPE, SelfConditioned.own(SHAPE), width=16, depth=1), Cosine(), v)
    rng, t = Rng(4, torch.arange(16)), torch.full((16,), 0.6, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        at = noised(model, {"x": rng.normal(SHAPE, "data")}, t, rng)
        model(at.x_t, t, at.cond).float().square().mean().backward()
    assert all(p.grad is not None for p in model.network.stem.parameters())
    assert model.network.out.weight.grad.abs().sum() > 0


def test_from_recipe_to_sample(tmp_path) -> None:
    """Trained, saved, read again; guidance and other samplers as with any model; a sample does not depend on its batch."""
    from unnoise.model import load

    recipe = Recipe.read("digits", [
        "denoiser=SelfConditioned", "network.UNet.width=8", "network.UNet.heads=1", "train.Trainer.steps=4",
        "train.Trainer.batch=8", "train.Trainer.preview_every=0", "train.Trainer.health_every=0",
        "train.Trainer.tensorboard=false", "train.Trainer.lr=0.01",
        "model.Defaults.batch=4", "model.Defaults.steps=3",
    ])  # fmt: skip
    train(recipe, tmp_path / "run", device="cpu", report=False, say=lambda line: None)
    model = load(tmp_path / "run")
    assert isinstance(model.denoiser, SelfConditioned) and ESTIMATE in model.own and ESTIMATE not in model.draw([1])
    together = model.sample(seeds=[5, 6, 7], cond={"label": "3"}, scale=2.0)
    assert torch.equal(model.sample(seeds=[6], cond={"label": "3"}, scale=2.0), together[1:2])
    setting = assemble(recipe, "cpu", say=lambda line: None)
    assert ESTIMATE not in setting.prepare(setting.data.batch(torch.arange(4)), Rng(0, torch.arange(4)))
    assert model.sample(1, sampler=Ancestral(), steps=5).shape == (1, 1, 8, 8)
