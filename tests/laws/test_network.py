"""Laws of every network: the shape of x, finite gradients, no look at neighbours, nulls for what is absent."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unnoise import network
from unnoise.condition import Condition, Conditions, nulls
from unnoise.network import MLP, Classifier, Decoder, DiT, NCSNpp, UNet
from unnoise.nn import Double, Fir, Halve, assembled, patches, positions

SHAPE = (3, 8, 12)
CONDS = {
    "label": Condition(classes=("cat", "dog", "owl")),
    "type": Condition(),  # a number, under a name that no module may have
    "a.b": Condition(shape=(4,)),
    "low": Condition(route="concat", shape=(2, 8, 12)),
}
Make = Callable[..., nn.Module]


def unet(shape: tuple[int, ...], conds: Conditions | None = None, **options: object) -> nn.Module:
    return UNet(shape, conds, **{"width": 8, "multipliers": (1, 2), "blocks": 1, "head_width": 8} | options)


def mlp(shape: tuple[int, ...], conds: Conditions | None = None, **options: object) -> nn.Module:
    return MLP(shape, conds, **{"width": 16, "depth": 2} | options)


def ncsnpp(shape: tuple[int, ...], conds: Conditions | None = None, **options: object) -> nn.Module:
    return NCSNpp(shape, conds, **{"width": 8, "multipliers": (1, 2), "blocks": 1} | options)


def dit(shape: tuple[int, ...], conds: Conditions | None = None, **options: object) -> nn.Module:
    return DiT(shape, conds, **{"width": 16, "depth": 2, "heads": 2} | options)


def decoder(shape: tuple[int, ...], conds: Conditions | None = None, **options: object) -> nn.Module:
    return Decoder(shape, conds, **{"width": 8, "multipliers": (1, 2)} | options)


CASES: dict[str, list[Make]] = {
    "UNet": [
        unet,
        lambda *a, **k: unet(*a, **k, embedding="add", resample="conv_right", heads=1, features="sin cos"),
        lambda *a, **k: unet(*a, **k, resample="residual", attention=(0, 1), zero_init=False, features="fourier"),
        lambda *a, **k: unet(*a, **k, resample="pool", recompute=True, groups=2, attention=(), middle=False),
        lambda *a, **k: unet(*a, **k, multipliers=(0.5, 1, 1), dim=12, width=16),
    ],
    "NCSNpp": [
        ncsnpp,
        lambda *a, **k: ncsnpp(*a, **k, features="fourier", noise=2, inputs="residual", taps=(1, 3, 3, 1)),
        lambda *a, **k: ncsnpp(*a, **k, inputs="skip", outputs="skip", taps=(1, 3, 3, 1), zero_init=False),
        lambda *a, **k: ncsnpp(*a, **k, multipliers=(1, 1, 2), inputs="residual", outputs="skip"),
    ],
    "DiT": [dit, lambda *a, **k: dit(*a, **k, patch=3, features="cos sin endpoint", embeddings=2, ratio=2.5)],
    "Decoder": [
        decoder,
        lambda *a, **k: decoder(*a, **k, features="fourier", multipliers=(1, 1, 2), tanh=True),
        lambda *a, **k: decoder(*a, **k, hidden=12),
    ],
    "MLP": [mlp, lambda *a, **k: mlp(*a, **k, features="fourier")],
}
MEMBERS = [pytest.param(make, id=f"{name}-{i}") for name in CASES for i, make in enumerate(CASES[name])]
every = pytest.mark.parametrize("make", MEMBERS)


def test_every_network_is_here() -> None:
    assert set(CASES) | {"Classifier", "Encoder"} == set(network.__all__)


def awake(net: nn.Module) -> nn.Module:
    """The network in float64 with every parameter moved, so that nothing is zero; without dropout."""
    generator = torch.Generator().manual_seed(1)
    net = net.double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return net


def inputs(batch: int = 3, shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, *shape, generator=generator, dtype=torch.float64)
    return x, torch.rand(batch, generator=generator, dtype=torch.float64)


def conditions() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "label": torch.tensor([0, 2, 3]),
        "type": torch.tensor([0.5, torch.nan, -1.0]),
        "a.b": torch.randn(3, 4, generator=generator),
        "low": torch.randn(3, 2, 8, 12, generator=generator),
    }


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-9, atol=1e-10)


@every
@pytest.mark.parametrize("shape", [(1, 24, 40), (3, 7, 9), (5, 28, 28), (2, 1, 1), (1, 100), (3, 33), (2, 4, 5, 6)], ids=str)
def test_the_shape_of_x_and_zero_when_fresh(make: Make, shape: tuple[int, ...]) -> None:
    net = make(shape)
    x, level = torch.randn(2, *shape), torch.tensor([0.1, 900.0])
    assert torch.equal(net(x, level, {}), torch.zeros_like(x))
    out = awake(net)(x.double(), level.double(), {})
    assert out.shape == x.shape and out.dtype == torch.float64 and out.isfinite().all() and out.std() > 0


@every
def test_learned_variance_doubles_the_channels(make: Make) -> None:
    net = make(SHAPE, variance=True)
    assert net.variance and net(*(v.float() for v in inputs()), {}).shape == (3, 6, 8, 12)


@every
def test_every_parameter_has_a_finite_gradient(make: Make) -> None:
    net = awake(make(SHAPE, CONDS)).train()
    x, level = inputs()
    x.requires_grad_()
    net(x, level, conditions()).square().sum().backward()
    for name, gradient in [("x", x.grad), *((n, p.grad) for n, p in net.named_parameters())]:
        assert gradient is not None and gradient.isfinite().all(), name
        assert gradient.abs().sum() > 0, name


@every
def test_null_is_absent(make: Make) -> None:
    net, (x, level) = awake(make(SHAPE, CONDS)), inputs()
    absent = net(x, level, {})
    assert torch.equal(absent, net(x, level, nulls(CONDS, 3)))
    assert torch.equal(absent, net(x, level))
    for name in CONDS:  # one given, the others absent: it is seen
        assert not close(net(x, level, {name: conditions()[name]})[0], absent[0]), name


@every
def test_nan_is_missing_and_zero_is_not(make: Make) -> None:
    net, (x, level) = awake(make(SHAPE, CONDS)), inputs()
    absent = net(x, level, {})
    number = net(x, level, {"type": torch.tensor([torch.nan, 0.0, 1.0])})
    assert close(number[0], absent[0]) and not close(number[1], absent[1]) and not close(number[2], number[1])


@every
def test_samples_keep_apart_and_their_order_does_not_matter(make: Make) -> None:
    net, (x, level), cond = awake(make(SHAPE, CONDS)), inputs(), conditions()
    together = net(x, level, cond)
    order = torch.tensor([2, 0, 1])
    assert close(net(x[order], level[order], {k: v[order] for k, v in cond.items()}), together[order])
    for i in range(3):
        alone = net(x[i : i + 1], level[i : i + 1], {k: v[i : i + 1] for k, v in cond.items()})
        assert close(alone, together[i : i + 1])


@every
def test_level_and_label_change_the_answer(make: Make) -> None:
    net, (x, level) = awake(make(SHAPE, CONDS)), inputs(1)
    labels = [net(x, level, {"label": torch.tensor([i])}) for i in range(4)]
    levels = [net(x, level + i) for i in range(3)]
    for answers in (labels, levels):
        assert not any(close(a, b) for i, a in enumerate(answers) for b in answers[:i])


@every
def test_state_dict_round_trip_and_inputs_untouched(make: Make) -> None:
    net, (x, level), cond = awake(make(SHAPE, CONDS)), inputs(), conditions()
    before = [v.clone() for v in (x, level, *cond.values())]
    twin = make(SHAPE, CONDS).double().eval()
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(x, level, cond), net(x, level, cond))
    for old, new in zip(before, (x, level, *cond.values()), strict=True):
        assert torch.equal(old.nan_to_num(9.0), new.nan_to_num(9.0))


@pytest.mark.parametrize("make", MEMBERS[::2])  # seconds each
def test_one_graph_without_breaks(make: Make) -> None:
    if make(SHAPE).__dict__.get("recompute"):
        pytest.skip("checkpointed blocks are compiled one by one")
    net, (x, level), cond = awake(make(SHAPE, CONDS)), inputs(), conditions()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert close(compiled(x, level, cond), net(x, level, cond))


@every
def test_channels_last_and_half_precision_are_followed(make: Make) -> None:
    net, (x, level) = awake(make(SHAPE)), inputs()
    answer = net(x, level)
    spread = net.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last), level)
    assert close(spread, answer)
    half = net.bfloat16()(x.bfloat16(), level.float())
    assert half.dtype == torch.bfloat16 and half.isfinite().all()


@every
def test_other_routes_and_unknown_conditions_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="'text' of route 'sequence'"):
        make(SHAPE, {"text": Condition(route="sequence", shape=(7, 16))})
    with pytest.raises(ValueError, match="no condition 'lable'; did you mean 'label'"):
        make(SHAPE, CONDS)(torch.zeros(1, *SHAPE), torch.zeros(1), {"lable": torch.zeros(1)})
    with pytest.raises(ValueError, match="no level features 'sine'"):
        {"UNet": unet, "MLP": mlp, "NCSNpp": ncsnpp, "DiT": dit, "Decoder": decoder}[type(make(SHAPE)).__name__](
            SHAPE, features="sine"
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": (2,)}, "attention at level 2: expected 0"),
        ({"heads": 3}, "8 channels cannot be split among 3 heads"),
        ({"resample": "fir"}, "resample 'fir'; expected conv"),
        ({"embedding": "concat"}, "embedding 'concat'; expected scale_shift"),
        ({"conds": {"low": Condition(route="concat", shape=(3, 4, 6))}}, "cannot be laid beside x"),
    ],
)
def test_unet_refuses_what_does_not_fit(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unet(SHAPE, **{"multipliers": (1, 1)} | options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ncsnpp(SHAPE, inputs="both"), "inputs 'both'; expected none"),
        (lambda: ncsnpp(SHAPE, outputs="residual"), "outputs 'residual'; expected none or skip"),
        (lambda: ncsnpp(SHAPE, taps=(1, 2, 1)), "a filter of 3 taps"),
        (lambda: ncsnpp((3,)), "this network takes samples of shape"),
        (lambda: dit(SHAPE, heads=3), "16 channels cannot be split among 3 heads"),
        (lambda: Classifier(SHAPE, 2, "max"), "pool 'max'; expected attention"),
        (lambda: Classifier(SHAPE, 2, resample="fir"), "resample 'fir'; expected conv"),
    ],
)
def test_the_others_refuse_what_does_not_fit(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("shape", [(3, 8, 12), (1, 13), (2, 3, 5, 6)], ids=str)
@pytest.mark.parametrize("pool", ["attention", "adaptive", "spatial", "spatial_v2"])
def test_a_classifier_answers_for_each_class_and_sample(pool: str, shape: tuple[int, ...]) -> None:
    net = awake(Classifier(shape, 5, pool, width=8, multipliers=(0.5, 1), blocks=1))
    x, level = inputs(3, shape)
    x.requires_grad_()
    logits = net(x, level)
    assert logits.shape == (3, 5) and close(net(x[1:2], level[1:2]), logits[1:2])
    (gradient,) = torch.autograd.grad(logits.log_softmax(1)[:, 2].sum(), x, retain_graph=True)  # what guidance follows
    assert gradient.isfinite().all() and all(part.abs().sum() > 0 for part in gradient)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1), (1, 5, 10, 10, 5, 1)], ids=str)
def test_fir_keeps_constants_and_is_halve_and_double_for_two_taps(spatial: int, taps: tuple[int, ...]) -> None:
    x = inputs(2, (3, *[12] * spatial))[0]
    down, up = Fir(spatial, taps, up=False).double(), Fir(spatial, taps, up=True).double()
    inner = (..., *[slice(3, -3)] * spatial)  # zeros beyond the edges are seen near them
    for made, side in ((down(torch.ones_like(x)), 6), (up(torch.ones_like(x)), 24)):
        assert made.shape == (2, 3, *[side] * spatial)
        assert close(made[inner], torch.ones_like(made[inner]))
    # Doubling is 2^spatial times the adjoint of halving.
    assert close((up(down(x)) * x).sum(), 2**spatial * down(x).square().sum())
    if taps == (1, 1):
        assert close(down(x), Halve()(x)) and close(up(x), Double()(x))


@pytest.mark.parametrize("grid", [(6,), (2, 3), (2, 3, 2)], ids=str)
def test_patches_are_taken_apart_and_put_together(grid: tuple[int, ...]) -> None:
    x = inputs(2, (3, *(2 * side for side in grid)))[0]
    tokens = patches(x, 2)
    assert tokens.shape == (2, math.prod(grid), 2 ** len(grid) * 3) and torch.equal(assembled(tokens, 2, grid), x)
    corner = x[(..., *[slice(2)] * len(grid))].movedim(1, -1)
    assert torch.equal(tokens[:, 0], corner.flatten(1))
    table = positions(grid, 32)
    assert table.shape == (math.prod(grid), 32) and torch.cdist(table, table).fill_diagonal_(9.0).min() > 0.1


@pytest.mark.parametrize("name", ["UNet", "NCSNpp", "DiT"])
def test_conditions_are_not_confused(name: str) -> None:
    """Two vectors swapped give another answer."""
    net = awake({"UNet": unet, "NCSNpp": ncsnpp, "DiT": dit}[name](SHAPE, {"a": Condition(), "b": Condition()}))
    (x, level), one, two = inputs(1), torch.ones(1).double(), torch.tensor([2.0]).double()
    assert not close(net(x, level, {"a": one, "b": two}), net(x, level, {"a": two, "b": one}))


@pytest.mark.parametrize(
    "make", [lambda conds: UNet((1, 8, 8), conds, width=8, multipliers=(1,)), lambda conds: MLP((2,), conds, width=16)]
)
def test_numbers_are_standardised(make) -> None:
    torch.manual_seed(0)
    plain = make({"year": Condition()})
    far = make({"year": Condition(mean=1950.0, std=20.0)})
    far.load_state_dict(plain.state_dict())
    for net in (plain, far):
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    shape = (1, 8, 8) if isinstance(plain, UNet) else (2,)
    x, level, z = torch.randn(3, *shape), torch.rand(3), torch.tensor([-1.0, 0.5, torch.nan])
    torch.testing.assert_close(far(x, level, {"year": 1950 + 20 * z}), plain(x, level, {"year": z}), rtol=1e-4, atol=1e-5)
