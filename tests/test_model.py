"""A model as a whole: what sampling promises, whatever the data are."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import unnoise
from unnoise.model import Model
from unnoise.recipe import Recipe, names
from unnoise.sampler import DDIM, Ancestral
from unnoise.task.train import build

TINY = {
    "digits": ["network.UNet.width=8", "network.UNet.heads=1", "model.Defaults.batch=4", "model.Defaults.steps=4"],
    "points": ["network.MLP.width=16", "model.Defaults.batch=4", "model.Defaults.steps=4"],
}


def stirred(name: str, *changes: str) -> Model:
    """A tiny model of a recipe with weights that are not the fresh network's zeros."""
    model = build(Recipe.read(name, [*TINY[name], *changes]), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("sampler", [None, DDIM(eta=0.7), Ancestral()])
def test_a_sample_does_not_depend_on_its_company(name: str, sampler: object) -> None:
    model = stirred(name)
    every = model.sample(9, sampler=sampler)
    for company in ([3], [3, 4], [8, 3, 0], [1, 2, 5, 3, 6, 7, 0, 4]):
        again = model.sample(seeds=company, sampler=sampler)
        for seed, x in zip(company, again, strict=True):
            assert torch.equal(x, every[seed])


def test_conditions_are_drawn_by_the_seed_and_as_the_data_have_them() -> None:
    model = stirred("digits")
    drawn = model.draw(range(4000))["label"]
    assert torch.equal(model.draw([7, 2])["label"], drawn[[7, 2]])
    counts = torch.tensor(model.domain.facts()["counts"]["label"], dtype=torch.float64)
    share = torch.bincount(drawn, minlength=10) / len(drawn)
    assert (share - counts / counts.sum()).abs().max() < 0.03


def test_conditions_as_a_person_writes_them() -> None:
    model = stirred("digits")
    for value in (3, "3", [3, 3], ["3", 3], torch.tensor([3, 3])):
        assert model.conditions({"label": value}, 2)["label"].tolist() == [3, 3]
    assert model.conditions({"label": None}, 2)["label"].tolist() == [10, 10]
    assert model.conditions({"label": ["4", None]}, 2)["label"].tolist() == [4, 10]
    for wrong in ({"label": 11}, {"label": "three"}, {"lable": 3}, {"label": [1, 2, 3]}, {"label": 2.5}):
        with pytest.raises(ValueError):
            model.conditions(wrong, 2)


def test_guidance_scale_one_is_off_and_counts_its_evaluations() -> None:
    model, evaluations = stirred("digits"), []
    plain = model.sample(4, callback=lambda moment: evaluations.append(moment.nfe))
    assert torch.equal(plain, model.sample(4, scale=1.0))
    guided = model.sample(4, scale=3.0, callback=lambda moment: evaluations.append(moment.nfe))
    assert not torch.equal(plain, guided)
    assert evaluations == [1, 2, 3, 4, 2, 4, 6, 8]


@pytest.mark.parametrize("name", TINY)
def test_saved_moved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    model = stirred(name)
    model.save(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    again = unnoise.load(tmp_path / "elsewhere")
    assert torch.equal(model.sample(3), again.sample(3))
    assert again.recipe.resolved().sections == model.recipe.resolved().sections


def test_damaged_runs_are_refused_in_one_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    stirred("digits").save(run)
    weights = (run / "weights.safetensors").read_bytes()
    for damage in (weights[: len(weights) // 2], b"", weights[:-1], b"\xff" * 100):
        (run / "weights.safetensors").write_bytes(damage)
        with pytest.raises(ValueError, match=r"weights\.safetensors"):
            unnoise.load(run)
    (run / "weights.safetensors").write_bytes(weights)
    (run / "data.json").write_text("{")
    with pytest.raises(ValueError, match=r"data\.json"):
        unnoise.load(run)
    with pytest.raises(ValueError, match="no run folder"):
        unnoise.load(tmp_path)


def test_a_run_may_not_bring_code_of_its_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    stirred("digits").save(run)
    text = (run / "recipe.toml").read_text().replace("[sampler.FlowAdams]", '[sampler."os:getcwd"]')
    (run / "recipe.toml").write_text(text)
    with pytest.raises(ValueError, match="outside the package"):
        unnoise.load(run)


@pytest.mark.parametrize("name", names())
def test_recipes_say_what_they_are_and_resolve_to_themselves(name: str) -> None:
    recipe = Recipe.read(name)
    assert len(names()[name]) > 20
    resolved = recipe.resolved()
    assert Recipe.parse(resolved.dump()).resolved() == resolved
    json.dumps(resolved.flat())


def test_ddpm_is_the_published_network() -> None:
    with torch.device("meta"):
        network: nn.Module = Recipe.read("cifar10-full").build("network", shape=(3, 32, 32), conds={})
    assert sum(p.numel() for p in network.parameters()) == 35_746_307
