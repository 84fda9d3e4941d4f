"""Laws of pairing noise with data: nothing is lost of the noise, ways are shorter, and groups are whole whoever computes them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from unnoise.denoiser import Denoiser
from unnoise.loss import Denoising, Hybrid, Paired, absolute
from unnoise.loss.base import noised
from unnoise.loss.pairing import assignment
from unnoise.network import MLP
from unnoise.prediction import flow
from unnoise.recipe import Recipe
from unnoise.schedule import Flow
from unnoise.task.train import train
from unnoise.tensor import Rng

FEW = ["train.Trainer.steps=1", "network.UNet.width=8", "network.UNet.heads=1", "train.Trainer.tensorboard=false"]


def drawn(n: int = 96, d: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    rng = Rng(11, torch.arange(n))
    label = rng.integers(3, (), "label")
    return rng.normal((d,), "x") + 3 * torch.eye(3, d)[label], rng.normal((d,), "eps"), label


@pytest.mark.parametrize("seed", range(20))
def test_the_assignment_is_the_cheapest_of_all(seed: int) -> None:
    """Beside each of the 720 others; and beside scipy's on a larger one, where some pairs are forbidden."""
    random = np.random.default_rng(seed)
    cost = random.normal(size=(6, 6))
    costs = {order: cost[range(6), order].sum() for order in permutations(range(6))}
    assert tuple(assignment(cost)) == min(costs, key=costs.__getitem__)
    optimize = pytest.importorskip("scipy.optimize")
    label = random.integers(4, size=40)
    cost = np.where(label[:, None] == label, random.normal(size=(40, 40)), np.inf)
    mine, (_, theirs) = assignment(cost), optimize.linear_sum_assignment(cost)
    assert sorted(mine) == list(range(40)) and np.isclose(cost[range(40), mine].sum(), cost[range(40), theirs].sum())


def test_noise_is_the_same_in_another_order_and_nearer() -> None:
    x, eps, _ = drawn()
    paired = Paired(32)(x, eps, {})
    for start in range(0, 96, 32):
        before, after = (set(map(tuple, part[start : start + 32].tolist())) for part in (eps, paired))
        assert before == after, "nothing of the noise is lost, doubled, or given to another group"
    assert (x - paired).square().sum() < 0.8 * (x - eps).square().sum()
    assert torch.equal(Paired(32)(x, eps, {}), paired)


def test_a_group_is_the_same_whoever_computes_it() -> None:
    """Parts of whole groups give what the whole batch gives; rows of no whole group keep their noise."""
    x, eps, _ = drawn()
    whole = Paired(16)(x, eps, {})
    assert torch.equal(torch.cat([Paired(16)(x[rows], eps[rows], {}) for rows in (slice(0, 48), slice(48, 96))]), whole)
    assert torch.equal(Paired(64)(x, eps, {})[64:], eps[64:])


def test_within_a_class_the_noise_stays_normal() -> None:
    """Each class keeps its own draws; without `within`, they lean to where the class lies (the control)."""
    x, eps, label = drawn(9600)
    within, across = Paired(32, "label")(x, eps, {"label": label}), Paired(32)(x, eps, {})
    for k in range(3):
        mine = label == k
        assert sorted(within[mine].flatten().tolist()) == sorted(eps[mine].flatten().tolist())
        assert within[mine].mean(0).abs().max() < 0.08
        assert across[mine].mean(0)[k] > 0.3
    with pytest.raises(ValueError, match="no such condition"):
        Paired(32, "labl")(x, eps, {"label": label})


def test_training_pairs_and_reports_do_not() -> None:
    """x_t = alpha x + sigma eps with the paired noise; `at` is of noise as it was drawn."""
    x, _, label = drawn(64)
    model, rng, t = (
        Denoiser(MLP((3,), width=8, depth=1), Flow(), flow),
        Rng(2, torch.arange(64)),
        torch.full((64,), 0.5, dtype=torch.float64),
    )
    batch = {"x": x, "label": label}
    plain, paired = (noised(model, batch, t, rng, pairing=pairing) for pairing in (None, Paired(32)))
    eps = (plain.x_t - plain.alpha * x) / plain.sigma
    assert torch.allclose((paired.x_t - paired.alpha * x) / paired.sigma, Paired(32)(x, eps, batch), atol=1e-5)
    assert torch.equal(
        Denoising(pairing=Paired(32), error=absolute).at(model, batch, t, rng), Denoising(error=absolute).at(model, batch, t, rng)
    )
    with pytest.raises(ValueError, match=r"simple\.pairing"):
        Hybrid(Denoising(pairing=Paired()))


@pytest.mark.parametrize("change", ["train.Trainer.batch=24", "train.Trainer.micro_batch=8", "train.Trainer.micro_batch='auto'"])
def test_groups_that_would_be_cut_are_refused(change: str, tmp_path) -> None:
    recipe = Recipe.read("digits", [*FEW, "loss.Denoising.pairing.Paired.group=16", change])
    with pytest.raises(ValueError, match="pairing in groups of 16"):
        train(recipe, tmp_path / "run", device="cpu", report=False, say=lambda line: None)
    with pytest.raises(ValueError, match="rows end at 24"):
        Paired(16).check(slice(0, 24), None)
    Paired(16).check(slice(32, 64), 16)
