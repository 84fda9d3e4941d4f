"""The recipe of the speed run, and the benchmark that sets it beside others: budgets hold, choices are the better ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmarks import _budgets, _others
from benchmarks.speed import ratio, told
from unnoise.recipe import Recipe

SMALL = ["network.UNet.width=8", "network.UNet.multipliers=[1, 2, 2]", "network.UNet.heads=1", "train.Trainer.batch=4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)):
        Image.fromarray(pixels).save(root / f"{i}.png")
    return root


def test_the_network_has_the_size_that_was_measured() -> None:
    with torch.device("meta"):
        network: Any = Recipe.read("cifar10-speed").build("network", shape=(3, 32, 32), conds={})
    assert sum(weight.numel() for weight in network.parameters()) == 2_419_059
    assert not Recipe.read("cifar10-speed").members("domain")["Images"]["conditions"]


class Known(_budgets.Ours):
    """Steps of half a second each, after two seconds."""

    def run(self, data: Path, folder: Path, steps: int, device: str) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        return {"seconds": 2 + steps / 2, "steps": steps}


def test_ours_makes_the_steps_that_its_budget_has_and_none_twice(tmp_path: Path) -> None:
    made = _budgets.trained(Known(), tmp_path, tmp_path, [2.0, 1.0], "cpu")
    for one, seconds in zip(made, (60, 120), strict=True):
        assert seconds * _budgets.MARGIN - 0.5 < one.facts()["seconds"] <= seconds * _budgets.MARGIN
    made[0].tell(steps=1)
    assert _budgets.trained(Known(), tmp_path, tmp_path, [1.0], "cpu")[0].facts()["steps"] == 1


def test_ours_is_guided_by_what_it_was(data: Path, tmp_path: Path) -> None:
    ours = _budgets.Ours(changes=[*SMALL, "model.Defaults.steps=3", "model.Defaults.batch=2"], guide=0.25, scale=2.0)
    one = _budgets.Trained(ours, 1.0, tmp_path / "run")
    one.tell(**ours.run(data, one.folder, 4, "cpu"))
    assert one.facts()["pictures_seen"] == 16
    x = one.samples(2, "cpu", distance=lambda x: 0.0)
    assert x.shape == (2, 3, 32, 32) and one.facts()["evaluations"] == 6  # two networks in each of three steps
    early, late = (_budgets.worse(one.folder, share, "cpu").state_dict() for share in (0.25, 1.0))
    assert early.keys() == late.keys() and not all(torch.equal(early[name], late[name]) for name in early)


class Copies(_others.Other):
    """Learns nothing: its weights are the sample that it gives."""

    samplers = ("nearer", "further")

    def network(self) -> Any:
        return torch.nn.Linear(1, 1)

    def loop(self, network: Any, batches: Any, device: str) -> Any:
        def step() -> Tensor:
            return network.weight + next(batches).mean()

        return step

    def weights(self, parts: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
        return {name: {"weight": torch.full((1, 1), v), "bias": torch.zeros(1)} for name, v in (("raw", 0.9), ("average", 0.5))}

    def walk(self, network: Any, sampler: str, n: int, device: str) -> Tensor:
        return (network.weight * (1 if sampler == "nearer" else -1)).expand(n, 3, 32, 32)


def test_others_stop_at_each_time_and_are_given_the_best_of_their_ways(data: Path, tmp_path: Path) -> None:
    first, last = _budgets.trained(Copies("copies"), data, tmp_path, [0.001, 0.002], "cpu")
    assert 0.06 <= first.facts()["seconds"] <= last.facts()["seconds"]
    assert first.facts()["steps"] < last.facts()["steps"]
    x = last.samples(3, "cpu", distance=lambda x: float((x + 0.5).abs().mean()))
    assert torch.allclose(x, torch.full_like(x, -0.5), atol=0.01)
    assert last.facts()["weights"] == "average" and last.facts()["sampler"] == "further"


def test_batches_are_mirrored_pictures_of_the_data(data: Path) -> None:
    x = _others.Images(str(data), size=32, conditions=()).dataset("train")
    known = x.batch(torch.arange(len(x)))["x"]
    some = next(_others.pictures(data))
    same, mirrored = ((known[None] - y[:, None]).flatten(2).abs().amax(2).amin(1) < 1e-5 for y in (some, some.flip(-1)))
    assert (same ^ mirrored).all() and same.any() and mirrored.any()


def test_ours_is_set_beside_the_best_of_the_others() -> None:
    found = (("ours", 10, 6.0), ("a", 10, 10.0), ("b", 10, 8.0), ("ours", 20, 3.0), ("a", 20, 9.0))
    rows = {f"{name} {m}": {"program": name, "minutes": m, "frechet": [value, 0, 0]} for name, m, value in found}
    assert ratio(rows, 10) == {"ours": 6.0, "best other": "b 10", "its": 8.0, "ratio": 0.75, "holds": False}
    assert ratio(rows, 20)["holds"]


def test_a_set_is_nearest_to_itself() -> None:
    rows = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    same, other = told(rows, rows[:200]), told(rows, rows[:200] + 3)
    assert same["frechet"][0] < 0.5 < other["frechet"][0]
    assert same["recall"][0] > 0.9 > other["recall"][0]
