"""Laws of augmentation: what is told is what was done, nothing told is nothing done, and each row has a key of its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unnoise import augment
from unnoise.augment import AUGMENT, Geometric
from unnoise.condition import complete, nulls
from unnoise.network import UNet
from unnoise.recipe import Recipe, RecipeError
from unnoise.task.train import assemble
from unnoise.tensor import Rng

SHAPE = (3, 16, 12)
MEMBERS = [made for made in vars(augment).values() if isinstance(made, type) and made.__module__ != "unnoise.augment"]
ALL = [made() for made in MEMBERS if not getattr(made, "_is_protocol", False)]
SMALL = ["network.UNet.width=8", "network.UNet.heads=1", "train.Trainer.steps=2", "train.Trainer.batch=8"]


def keys(n: int, step: int = 1) -> Rng:
    return Rng(5, torch.arange(n)).at(step)


def pictures(n: int) -> Tensor:
    return Rng(range(n)).normal(SHAPE, "x").clamp(-1, 1)


@pytest.mark.parametrize("member", ALL, ids=repr)
def test_a_row_is_a_function_of_its_own_key(member: augment.Augment) -> None:
    """Not of the rows beside it, so that neither processes nor micro-batches nor a kill change what is learnt."""
    x, whole = pictures(40), member(pictures(40), keys(40))
    for rows in (slice(0, 3), slice(3, 20), slice(39, 40)):
        part = member(x[rows], keys(40)[rows])
        assert all(torch.equal(part[name].nan_to_num(7.0), whole[name][rows].nan_to_num(7.0)) for name in whole)
    assert not torch.equal(whole["x"], member(x, keys(40, step=2))["x"])


@pytest.mark.parametrize("member", ALL, ids=repr)
def test_what_is_not_told_has_not_been_done(member: augment.Augment) -> None:
    """The null, which sampling has, is what the network was told of pictures as they are."""
    x, conds = pictures(200), member.conds(SHAPE)
    varied = member(x, keys(200))
    still = torch.stack([varied[name].isnan().all(1) for name in conds]).all(0)
    same = (varied["x"] == x).flatten(1).all(1)
    assert 20 < still.sum() < 180 and torch.equal(same, still)
    assert not nulls(conds, 2), "guidance does not contrast with it"
    at_null = complete(conds, {}, int(still.sum()), "cpu")
    assert all(torch.equal(at_null[name].isnan(), varied[name][still].isnan()) for name in conds)


@pytest.mark.parametrize("member", ALL, ids=repr)
def test_networks_take_what_is_told(member: augment.Augment) -> None:
    net = UNet(SHAPE, member.conds(SHAPE), width=8, multipliers=(1,), blocks=1, attention=(), middle=False)
    varied = member(pictures(5), keys(5))
    told = {name: varied[name] for name in member.conds(SHAPE)}
    assert {name: tuple(value.shape[1:]) for name, value in told.items()} == {n: c.shape for n, c in net.conds.items()}
    assert net(varied["x"], torch.zeros(5), told).isfinite().all()
    with pytest.raises(ValueError, match="no pictures"):
        member.conds((2,))


def matrix(told: Tensor, member: Geometric) -> tuple[Tensor, Tensor]:
    """The map of points (right, up) from what is told, in the words of linear algebra: p -> M p + shift, in sides."""
    mirror, upset, scale, cos, sin, stretch_cos, stretch_sin, right, down = told.double().nan_to_num(0.0).tolist()
    flips = torch.diag(torch.tensor([1 - 2 * mirror, 1 - 2 * upset], dtype=torch.float64))
    turn = torch.tensor([[1 + cos, -sin], [sin, 1 + cos]], dtype=torch.float64)
    growth = torch.tensor([[stretch_cos, stretch_sin], [stretch_sin, -stretch_cos]], dtype=torch.float64)  # symmetric, trace 0
    grown = torch.linalg.matrix_exp(torch.log(torch.tensor(2.0)) * member.stretch * growth)
    return grown @ turn @ flips * 2 ** (member.scale * scale), member.shift * torch.tensor([right, -down], dtype=torch.float64)


@pytest.mark.parametrize(
    "kept",
    [{"mirror", "upset"}, {"scale"}, {"turn"}, {"stretch"}, {"shift"}, {"mirror", "upset", "scale", "turn", "stretch", "shift"}],
    ids=lambda kept: "+".join(sorted(kept)),
)
def test_moves_are_what_is_told_of_them(kept: set[str]) -> None:
    """Centre and covariance of a Gaussian spot go where the told map takes them: M mean + shift, and M covariance M^T."""
    numbers = {"mirror": True, "upset": True, "scale": 0.1, "turn": True, "stretch": 0.1, "shift": 0.02}
    member = Geometric(1.0, **{name: value if name in kept else type(value)(0) for name, value in numbers.items()})
    height, width, n = 96, 112, 40
    mean, covariance = torch.tensor([6.0, 4.0]).double(), torch.tensor([[12.0, 5.0], [5.0, 8.0]]).double()
    right = torch.arange(width).double() - (width - 1) / 2
    up = (height - 1) / 2 - torch.arange(height).double()
    points = torch.stack([right.expand(height, width), up[:, None].expand(height, width)], -1) - mean
    spot = torch.exp(-((points @ covariance.inverse()) * points).sum(-1) / 2)
    varied = member(spot.expand(n, 1, height, width), keys(n))
    for picture, told in zip(varied["x"][:, 0], varied[AUGMENT], strict=True):
        m, shift = matrix(told, member)
        place = points + mean
        centre = (picture[..., None] * place).sum((0, 1)) / picture.sum()
        spread = torch.einsum("hw,hwi,hwj->ij", picture, place - centre, place - centre) / picture.sum()
        assert torch.allclose(centre, m @ mean + shift * torch.tensor([width, height]), atol=0.05)
        assert torch.allclose(spread, m @ covariance @ m.T, atol=0.35)


def test_moves_happen_as_often_as_asked_and_evenly() -> None:
    moves = Geometric(0.12).moves(keys(20_000))
    shares = {name: float((~move.isnan()).double().mean()) for name, move in moves._asdict().items()}
    expected = dict.fromkeys(shares, 0.12) | {"mirror": 0.5, "upset": 0.06}
    assert all(abs(shares[name] - p) < 4.5 * (p * (1 - p) / 20_000) ** 0.5 for name, p in expected.items())
    turn, right = moves.turn[~moves.turn.isnan()], moves.right[~moves.right.isnan()]
    assert abs(turn.cos().mean()) < 0.06 and abs(turn.sin().mean()) < 0.06
    assert abs(right.mean()) < 0.1 and abs(right.std() - 1) < 0.06


def test_training_varies_and_measuring_does_not() -> None:
    recipe = Recipe.read("digits", [*SMALL, "augment.Geometric.probability=1.0"])
    setting = assemble(recipe, "cpu", say=lambda line: None)
    batch = setting.data.batch(torch.arange(8))
    prepared = setting.prepare(batch, keys(8))
    assert not torch.equal(prepared["x"], batch["x"]) and (~prepared[AUGMENT].isnan()).any()
    assert AUGMENT not in setting.model.learnt(batch, keys(8)) and AUGMENT not in setting.model.draw(range(4))
    assert AUGMENT in setting.model.denoiser.conds and setting.model.sample(2, steps=2).shape == (2, 1, 8, 8)
    losses = setting.objective(setting.model.denoiser, prepared, keys(8))
    losses.sum().backward()
    assert losses.shape == (8,) and losses.isfinite().all()


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(RecipeError, match="no pictures"):
        assemble(Recipe.read("points", ["augment=Geometric"]), "cpu", say=lambda line: None)
    with pytest.raises(RecipeError, match="a classifier cannot be told"):
        assemble(Recipe.read("classifier-digits", ["augment=Geometric"]), "cpu", say=lambda line: None)
    with pytest.raises(RecipeError, match=r"probability = 2"):
        assemble(Recipe.read("digits", ["augment.Geometric.probability=2.0"]), "cpu", say=lambda line: None)
