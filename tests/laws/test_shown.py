"""Laws of what conditional networks are shown: measurements of the very x, drawn by their keys; consistency with them."""

import pytest
import torch
from torch import Tensor, nn

from unnoise import operator
from unnoise.condition import nulls
from unnoise.denoiser import Centred
from unnoise.network import UNet
from unnoise.operator import Downsample, GaussianBlur, Gray, Holes, Law, Noise, Shown
from unnoise.operator.law import HOLE, NOISE
from unnoise.operator.shown import SEEN, noisy
from unnoise.prediction import edm
from unnoise.schedule import Cosine
from unnoise.tensor import Cond, Rng

SHAPE = (3, 16, 12)
LAWS = [law() for law in vars(operator).values() if isinstance(law, type) and issubclass(law, Law) and law is not Law]
ALL = [
    [Downsample(4)], [Downsample(2, "area")], [Gray()], [Holes()], [Holes(("box",))], [GaussianBlur(1.0)], [Noise(0.3)],
    [Downsample(2), Noise(0.3)], [Downsample(2), Gray()], [Holes(), Gray()],
]  # fmt: skip
EXACT = [[Downsample(4)], [Downsample(2, "lanczos")], [Gray()], [Holes()]]


def pictures(n: int = 5) -> Tensor:
    return Rng(range(n)).normal(SHAPE, "x").clamp(-1, 1)


def keys(n: int = 5) -> Rng:
    return Rng(7, torch.arange(n)).at(3)


@pytest.mark.parametrize("members", ALL, ids=str)
def test_what_is_shown_is_the_measurement_of_the_same_x(members: list) -> None:
    """Made again from what was told of it, the operator gives what is seen, with no noise but that which is told."""
    shown, x = Shown(members, SHAPE), pictures()
    cond = shown.of(x, keys())
    y = noisy(shown.operator(cond)(x), cond, keys())
    assert torch.equal(shown.given(y, {name: v for name, v in cond.items() if name != SEEN}, x)[SEEN], cond[SEEN])
    if NOISE not in cond and members[0] != GaussianBlur(1.0):
        centre = shown.centre(x, cond)
        assert centre.shape == x.shape and torch.allclose(shown.operator(cond)(centre), y, atol=1e-5)


@pytest.mark.parametrize("members", ALL, ids=str)
def test_conditions_say_what_is_shown(members: list) -> None:
    shown = Shown(members, SHAPE)
    cond = shown.of(pictures(), keys())
    assert {name: tuple(v.shape[1:]) for name, v in cond.items()} == {name: c.shape for name, c in shown.conds.items()}
    assert all(one.drop == 0 for one in shown.conds.values()) and not nulls(shown.conds, 3)
    net = UNet(SHAPE, shown.conds, width=8, multipliers=(1,), blocks=1, attention=(), middle=False)
    assert net(pictures(), torch.zeros(5), cond).shape == (5, *SHAPE)


@pytest.mark.parametrize("members", ALL, ids=str)
def test_a_draw_is_a_function_of_its_own_key(members: list) -> None:
    """Not of the batch around it, so that what is trained does not depend on micro-batches, nor a resumed run on the kill."""
    shown, x = Shown(members, SHAPE), pictures()
    whole, part = shown.of(x, keys()), shown.of(x[2:4], keys()[2:4])
    assert all(torch.equal(whole[name][2:4], part[name]) for name in whole)


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_laws_draw_anew_for_each_sample_and_step(law: Law) -> None:
    drawn, later = (law.drawn(pictures(64), Rng(0, torch.arange(64)).at(step)) for step in (1, 2))
    for name, value in drawn.items():
        assert tuple(value.shape[1:]) == law.conds(SHAPE)[name].shape
        assert len(value.reshape(64, -1).unique(dim=0)) > 16 and not torch.equal(value, later[name])


def test_holes_are_of_their_kind() -> None:
    rng, like = Rng(range(200)), torch.zeros(200, 1, 16, 12)
    half, box, stroke = (Holes((kind,)).drawn(like, rng)[HOLE][:, 0] for kind in ("half", "box", "stroke"))
    assert torch.equal(half.sum((1, 2)), torch.full((200,), 96.0))
    high, wide = box.any(2).sum(1), box.any(1).sum(1)
    assert torch.equal(box.sum((1, 2)), (high * wide).float()) and high.min() >= 4 and high.max() <= 12 and wide.min() >= 3
    share = stroke.mean((1, 2))
    assert share.min() > 0 and 0.1 < share.mean() < 0.6
    mixed = Holes().drawn(like, rng)[HOLE][:, 0]
    assert all(0.2 < (mixed == kind).all((1, 2)).float().mean() < 0.6 for kind in (half, box, stroke))


def test_noise_is_of_the_level_that_is_told() -> None:
    x = torch.zeros(400, *SHAPE)
    cond = Shown([Noise(0.4)], SHAPE).of(x, Rng(0, torch.arange(400)))
    found = cond[SEEN].flatten(1).std(1)
    assert 0.15 < cond[NOISE].mean() < 0.25 and cond[NOISE].max() < 0.4
    assert ((found / cond[NOISE]).median() - 1).abs() < 0.02


class Wrong(nn.Module):
    """A network that knows nothing of the picture."""

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self.conds = shown.conds

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        return torch.sin(37 * x)


@pytest.mark.parametrize("members", EXACT, ids=str)
def test_answers_agree_with_what_was_seen_whatever_the_network_says(members: list) -> None:
    shown, x = Shown(members, SHAPE), pictures()
    assert shown.exact
    denoiser = Centred(Wrong(shown), Cosine(), lambda a, s: edm(a, s, 0.2), shown=shown)
    cond = shown.of(x, keys())
    for t in (0.02, 0.5, 1.0):
        x0 = denoiser(keys().normal(SHAPE, "x_t"), t, cond)
        seen = shown.operator(cond)
        assert torch.allclose(seen(x0), seen(x), atol=2e-5) and not torch.allclose(x0, x, atol=0.1)


@pytest.mark.parametrize("members", [[GaussianBlur(1.0)], [Noise(0.3)], [Downsample(2), Noise()]], ids=str)
def test_nothing_is_forced_where_y_is_noisy_or_its_inversion_unstable(members: list) -> None:
    assert not Shown(members, SHAPE).exact


def test_a_fresh_network_answers_what_is_seen() -> None:
    shown, x = Shown([Downsample(4)], SHAPE), pictures()
    net = UNet(SHAPE, shown.conds, width=8, multipliers=(1,), blocks=1, attention=(), middle=False)
    cond = shown.of(x, keys())
    answer = Centred(net, Cosine(), lambda a, s: edm(a, s, 0.2), shown=shown)(pictures(), 1.0, cond)
    assert torch.allclose(answer, cond[SEEN], atol=1e-3)


def test_what_cannot_be_shown_is_refused() -> None:
    for members, shape in (([], SHAPE), ([Gray()], (5,))):
        with pytest.raises(ValueError, match="expected one, of pictures"):
            Shown(members, shape)
    with pytest.raises(ValueError, match="expected some of box"):
        Holes(())
    with pytest.raises(ValueError, match="positive"):
        Noise(0.0)
