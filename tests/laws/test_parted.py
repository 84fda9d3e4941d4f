"""Laws of every network: it learns the same with its weights in parts, and with its activations computed anew."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
import torch
from test_network import CONDS, SHAPE, Make, awake, conditions, dit, every, inputs, ncsnpp, unet
from torch import Tensor, nn

from unnoise import network
from unnoise.train.sharded import Sharded

RECOMPUTING = {"UNet": unet, "DiT": dit, "NCSNpp": ncsnpp}


@pytest.fixture(scope="module")
def alone() -> Iterator[None]:
    """A group of one process: weights are gathered and parted as among several."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def made(make: Make, **options: bool) -> nn.Module:
    torch.manual_seed(0)
    return awake(make(SHAPE, CONDS, **options))


def gradients(net: nn.Module) -> dict[str, Tensor]:
    (x, level), cond = inputs(), conditions()
    net(x, level, cond).square().sum().backward()
    return {name: weight.grad for name, weight in net.named_parameters() if weight.grad is not None}


@every
@pytest.mark.usefixtures("alone")
def test_a_network_in_parts_has_its_gradients(make):
    expected, net = gradients(made(make)), made(make)
    ranks = Sharded(0, 1, 0, torch.device("cpu"))
    parts = ranks.learnt(net, nn.ModuleDict())
    gradients(net)
    ranks.total(torch.zeros(()))
    found = {name: weight.grad for name, weight in parts.named_parameters() if weight.grad is not None}
    assert found.keys() == expected.keys() and found
    assert all(torch.allclose(found[name], expected[name], rtol=1e-12, atol=1e-12) for name in expected)


@pytest.mark.parametrize("name", RECOMPUTING)
def test_what_is_computed_anew_is_the_same(name):
    kept, anew = (gradients(made(RECOMPUTING[name], recompute=recompute)) for recompute in (False, True))
    assert all(torch.equal(kept[key], anew[key]) for key in kept)


def test_every_network_that_recomputes_is_here():
    able = {name for name in network.__all__ if "recompute" in inspect.signature(getattr(network, name)).parameters}
    assert able == set(RECOMPUTING)
