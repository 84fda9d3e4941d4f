"""Recipes: every fault is one clear line before anything is built."""

import pytest

from unnoise.loss import Denoising, LogNormal, MinSNR, Uniform
from unnoise.recipe import Recipe, RecipeError
from unnoise.sampler import DDIM


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sampler.DDIM.etaa=1", "[sampler.DDIM]: no option 'etaa'; did you mean 'eta'?"),
        ("sampler=DDIMM", "no 'DDIMM'; did you mean 'DDIM'?"),
        ("samplr=DDIM", "did you mean 'sampler'?"),
        ("train.Trainer.steps=many", "steps = 'many'"),
        ("train.Trainer.steps=2.5", "steps = 2.5"),
        ("sampler.DDIM.eta=[1]", "eta = [1]"),
        ("loss.Denoising.weight=min_snr", "did you mean 'MinSNR'?"),
        ("loss.Denoising.weight.MinSNR.gama=1", "did you mean 'gamma'?"),
        ("nonsense", "expected section.Name.key=value"),
        ("sampler.DDIM=3", "expected section.Name.key=value"),
    ],
)
def test_faults_are_named(change: str, said: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Recipe.read("digits", [change]).build("sampler")
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(RecipeError, match=r"etaa.*stps"):
        Recipe.read("digits", ["sampler.DDIM.etaa=1", "train.Trainer.stps=1"])


def test_unknown_recipes() -> None:
    with pytest.raises(RecipeError, match="did you mean 'digits'"):
        Recipe.read("digts")


def test_construction() -> None:
    changes = ["sampler.DDIM.eta=0.5", "loss.Denoising.weight=MinSNR", "loss.Denoising.times.LogNormal.mean=-2"]
    recipe = Recipe.read("digits", changes)
    assert recipe.build("sampler") == DDIM(0.5)
    assert recipe.build("loss") == Denoising(weight=MinSNR(), times=LogNormal(mean=-2.0))
    assert Recipe.read("digits", ["loss.Denoising.times=Uniform"]).build("loss").times == Uniform()


def test_refusals_of_constructors_name_their_place() -> None:
    with pytest.raises(RecipeError, match=r"\[sampler.DDIM\]: .*eta"):
        Recipe.read("digits", ["sampler.DDIM.eta=2"]).build("sampler")
