"""Objectives beyond the plain one: bounds, scores, and what they learn themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unnoise import loss, prediction
from unnoise.denoiser import Answer, Denoiser, Gaussian
from unnoise.loss import Denoising, Hybrid, Importance, SlicedScore, Stratified, Uncertainty, Variational
from unnoise.model import Model
from unnoise.recipe import Recipe
from unnoise.schedule import VP, Cosine, Learned, LinearBetas, QuadraticBetas
from unnoise.tensor import Cond, Rng
from unnoise.train import Trainer, latest

X = Rng(range(6)).normal((3, 2), "x", dtype=torch.float64)
T = torch.tensor([0.02, 0.2, 0.4, 0.6, 0.8, 0.98], dtype=torch.float64)  # entries of a table of 50


class Wrapped(Denoiser):
    """A closed form in the place of a network."""

    def __init__(self, exact: Gaussian) -> None:
        super().__init__(nn.Identity(), exact.schedule, prediction.x0)
        self.exact = exact

    def answer(self, x_t: Tensor, t: object, cond: Cond | None = None) -> Answer:
        return self.exact.answer(x_t, t, cond)  # type: ignore[arg-type]

    def forward(self, x_t: Tensor, t: object, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


def test_the_likelihood_weighting_does_not_depend_on_the_schedule() -> None:
    """Between the same ends, the mean per unit of log-SNR under uniform t is one number: two schedules, one bound."""
    one, other = Cosine(6.0, -6.0), VP(t_min=0.0)
    ends = [float(other.time(torch.tensor(value).double())) for value in (6.0, -6.0)]
    u = ((torch.arange(2000) + 0.5) / 2000).double()
    means = []
    for schedule, t, share in ((one, u, 1.0), (other, ends[0] + u * (ends[1] - ends[0]), ends[1] - ends[0])):
        model = Gaussian(schedule, torch.zeros(4), torch.diag(torch.tensor([2.0, 1.0, 0.1, 0.01])))
        x = Rng(range(2000)).normal((4,), "x", dtype=torch.float64) * model.covariances[0].diagonal().sqrt()
        losses = Denoising(loss.snr, per="log_snr").at(Wrapped(model), {"x": x}, t, Rng(range(2000)))
        means.append(float(losses.mean()) * share)
    assert means[0] == pytest.approx(means[1], rel=0.03)


class Linear(nn.Module):
    """a x + b, and b for a learned variance."""

    variance = True
    conds: dict[str, object] = {}

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        return torch.cat([self.a * x, self.b.expand_as(x)], 1)


def slopes(objective: object, x: Tensor, t: Tensor) -> list[float]:
    model = Denoiser(Linear(), LinearBetas(50), prediction.eps)
    objective.at(model, {"x": x}, t, Rng(range(len(x)))).mean().backward()  # type: ignore[attr-defined]
    return [float(p.grad) if p.grad is not None else 0.0 for p in model.parameters()]


def test_in_the_hybrid_loss_the_bound_trains_the_variance_alone() -> None:
    objectives = Denoising(), Hybrid(share=0.1), Variational(variance="learned")
    simple, hybrid, bound = (slopes(objective, X, T) for objective in objectives)
    assert hybrid[0] == pytest.approx(simple[0]) and simple[1] == 0
    assert hybrid[1] == pytest.approx(0.1 * bound[1]) and abs(bound[1]) > 0


def test_sliced_score_matching_has_the_gradients_of_denoising_score_matching() -> None:
    x, t = 0.5 * Rng(range(60_000)).normal((2, 1), "x", dtype=torch.float64), torch.full((60_000,), 0.5).double()
    sliced, denoising = slopes(SlicedScore(), x, t)[0], slopes(Denoising(loss.snr), x, t)[0] / 2
    assert sliced == pytest.approx(denoising, rel=0.03)


def test_importance_sampling_leaves_the_mean_and_calms_it() -> None:
    law, schedule, n = Importance(10, history=4), QuadraticBetas(10), 2000
    value = schedule.times**4 * 100  # the loss at each entry
    for step in range(6):
        t = law(schedule, Rng(1, index=torch.arange(n)).at(step))
        entries = (t * 10).round().long() - 1
        losses = law.weigh(schedule, t, value[entries])
    assert (law.counts == 4).all() and torch.allclose(law.losses[:, 0], value)
    assert float(losses.mean()) == pytest.approx(float(value.mean()), rel=0.02)
    assert float(losses.std()) < 0.2 * float(value.std())
    known = law.eval().losses.clone()
    law.weigh(schedule, t, 0 * losses)
    assert torch.equal(law.losses, known)  # nothing is learnt outside training


def test_learned_uncertainty_finds_the_size_of_the_loss_at_each_level() -> None:
    sure, schedule, t = Uncertainty(64), VP(), torch.linspace(0.01, 1, 200, dtype=torch.float64)
    sizes = (1 + 9 * t).float()
    assert torch.equal(sure(schedule, t, sizes), sizes)
    optimizer = torch.optim.Adam(sure.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        sure(schedule, t, sizes).mean().backward()
        optimizer.step()
    assert (sure.log_loss(schedule, t) - sizes.log()).abs().mean() < 0.1


def test_a_learned_schedule_lowers_the_variance_of_the_bound_and_not_the_bound() -> None:
    schedule, n = Learned(64, 6.0, -6.0), 1000
    exact = Gaussian(schedule, torch.zeros(4), 0.01 * torch.eye(4))  # all is decided at a small range of log-SNR
    x, model = 0.1 * Rng(range(n)).normal((4,), "x", dtype=torch.float64), Wrapped(exact)
    objective = Denoising(loss.snr, Stratified(), per="log_snr")
    optimizer, told = torch.optim.Adam(schedule.parameters(), 0.05), []
    for step in range(40):
        losses = objective(model, {"x": x}, Rng(0, index=torch.arange(n)).at(step))
        told.append((float(losses.detach().mean()), float(losses.detach().std())))
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
    assert told[-1][1] < 0.7 * told[0][1] and told[-1][0] == pytest.approx(told[0][0], rel=0.1)


class Rows:
    """Eight points."""

    def __len__(self) -> int:
        return 8

    def batch(self, indices: Tensor, rng: Rng | None = None) -> dict[str, Tensor]:
        return {"x": Rng(indices).normal((2, 1), "rows")}


def test_what_an_objective_has_learnt_lies_in_the_checkpoint(tmp_path: Path) -> None:
    """Its weights, and the history of its times: a run in two halves ends on the bits of one that was not stopped."""

    def run(folder: str, *halves: int) -> dict[str, Tensor]:
        for steps in halves:
            model = Denoiser(Linear().float(), QuadraticBetas(4), prediction.eps)
            objective = Denoising(times=Importance(4, 2), uncertainty=Uncertainty(8))
            trainer = Trainer(steps=steps, batch=8, lr=0.1, save_every=50)
            trainer.fit(model, objective, Rows(), tmp_path / folder, say=lambda line: None)  # type: ignore[arg-type]
        found = latest(tmp_path / folder)
        assert found is not None and isinstance(objective.times, Importance) and (objective.times.counts == 2).all()
        assert objective.uncertainty is not None and objective.uncertainty.weight.abs().min() > 0
        assert torch.equal(found.tensors["objective.times.losses"], objective.times.losses)
        return found.tensors

    one, two = run("one", 12), run("two", 7, 12)
    assert one.keys() == two.keys() and "optimizer.exp_avg.objective.uncertainty.weight" in one
    assert not any(name.startswith("ema.") and "uncertainty" in name for name in one)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    "change",
    [
        "loss.Denoising.weight.P2.k=2",
        "loss.Denoising.error.Huber.delta=0.5",
        "loss.Denoising.error=absolute",
        "loss.Denoising.per=log_snr",
        "loss.Denoising.offset=0.1",
        "loss.Denoising.uncertainty.Uncertainty.width=16",
        "loss.Denoising.times.Importance.parts=50",
        "loss.Hybrid.simple.Denoising.weight=snr",
        "loss.Variational.decoder.Decoder.levels=17",
        "loss.SlicedScore.slices=2",
    ],
)
def test_a_recipe_names_every_choice(change: str) -> None:
    """And what it names trains: a finite loss with finite gradients."""
    small = ["network.UNet.width=8", "network.UNet.multipliers=[1]", "network.UNet.attention=[]", "schedule.CosineBetas.steps=50"]
    recipe = Recipe.read("iddpm-digits", [*small, change])
    model, objective = Model(recipe).denoiser, recipe.build("loss")
    x = {"x": Rng(range(4)).normal((1, 8, 8), "x").clamp(-1, 1)}
    losses = objective(model, x, Rng(0, index=torch.arange(4)))
    losses.mean().backward()
    assert losses.shape == (4,) and losses.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        assert objective.at(model, x, torch.tensor([0.02, 0.3, 0.6, 1.0]).double(), Rng(range(4))).isfinite().all()
