"""Classifier runs, and runs that guide others: trained, described, sampled with, made again, refused where they do not fit."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import unnoise
from unnoise.denoiser import Recogniser
from unnoise.guidance import CFG, Auto, Classifier
from unnoise.model import Model
from unnoise.recipe import Recipe, RecipeError
from unnoise.sampler import Ancestral
from unnoise.task import recognition
from unnoise.task.info import info
from unnoise.task.sample import Order, read, reproduce, sample, scaled
from unnoise.task.train import build, train

LITTLE = {
    "digits": ["network.UNet.width=8", "network.UNet.heads=1", "model.Defaults.batch=4", "model.Defaults.steps=3"],
    "classifier-digits": ["network.Classifier.width=8", "network.Classifier.heads=1"],
}
ALONE = "domain.Digits.conditions=[]"


def made(name: str, folder: Path, *changes: str) -> Path:
    """A run with weights that are not a fresh network's."""
    model = build(Recipe.read(name, [*LITTLE[name], *changes]), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save(folder, {"step": "1"})
    return folder


def test_a_classifier_is_trained_resumed_and_described(tmp_path: Path) -> None:
    changes = [*LITTLE["classifier-digits"], "train.Trainer.batch=32", "train.Trainer.save_every=30", "train.Trainer.lr=1e-2"]
    lines: list[str] = []
    for steps in (30, 120):  # the second goes on from the first
        recipe = Recipe.read("classifier-digits", [*changes, f"train.Trainer.steps={steps}", "train.Trainer.decay=constant"])
        model = train(recipe, tmp_path / "run", device="cpu", say=lines.append)
    assert any("resumes at 30" in line for line in lines)
    told = info(tmp_path / "run")
    assert told["recognises"] == "label (10 classes)" and "samples by" not in told
    figures = json.loads((tmp_path / "run" / "report.json").read_text())
    assert figures["accuracy"] == told["accuracy"] > 0.2 and figures == recognition.recognition(model)
    bands = list(figures["accuracy_by_band"].values())
    assert bands[0] > 0.4 and bands[0] > bands[-1]  # noise is harder
    again = unnoise.load(tmp_path / "run")
    assert isinstance(again.denoiser, Recogniser) and again.denoiser.conds["label"].drop == 0
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([0.1, 0.5, 0.9])
    assert torch.allclose(again.denoiser.log_class(x, t).exp().sum(1), torch.ones(3), atol=1e-5)
    with pytest.raises(ValueError, match="samples nothing"):
        again.sample(1)


def test_a_classifier_guides_a_model_that_knows_no_classes(tmp_path: Path) -> None:
    judge = made("classifier-digits", tmp_path / "judge")
    plain = unnoise.load(made("digits", tmp_path / "plain", ALONE))
    assert not plain.denoiser.conds
    rules = [Classifier(str(judge), scale=5.0), *plain.guidance]
    led = plain.sample(4, cond={"label": [3, "3", 7, None]}, guidance=rules)
    assert not torch.isclose(led[:3], plain.sample(3)).all(-1).all(-1).any()
    assert torch.equal(led[3], plain.sample(4)[3])  # not told
    assert torch.equal(led[2], plain.sample(seeds=[2], cond={"label": 7}, guidance=rules)[0])
    assert torch.equal(plain.sample(4, cond={"label": 3}, guidance=rules, scale=0.0), plain.sample(4))
    with pytest.raises(ValueError, match="told the label"):
        plain.sample(1, guidance=rules)
    with pytest.raises(ValueError, match="Ancestral"):
        plain.sample(1, cond={"label": 1}, guidance=[Classifier(str(judge), ancestral=True)])
    rules[0] = Classifier(str(judge), scale=5.0, ancestral=True)
    by_steps = plain.sample(1, cond={"label": 1}, guidance=rules, sampler=Ancestral())
    assert not torch.equal(by_steps, plain.sample(1, sampler=Ancestral()))


def test_guided_pictures_say_by_whom_and_are_made_again(tmp_path: Path) -> None:
    judge, run = made("classifier-digits", tmp_path / "judge"), made("digits", tmp_path / "run")
    weaker = made("digits", tmp_path / "weaker", "train.Trainer.seed=5", "network.UNet.blocks=2")
    changes = [f"guidance.Classifier.run={str(judge)!r}", "guidance.Classifier.scale=4", f"guidance.Auto.run={str(weaker)!r}"]
    *_, picture, sheet = sample(
        run, Order([1, 2], {"label": 3}, [*changes, "guidance.Auto.scale=2"], "cpu", threads=1), tmp_path / "out"
    )
    told = read(picture)["guidance"]
    assert list(told) == ["Auto", "Classifier", "Clip"]  # the last that was asked for is innermost, and what clips stays outside
    assert told["Classifier"]["run"] == unnoise.load(judge).digest and told["Auto"]["run"] == unnoise.load(weaker).digest
    assert str(tmp_path) not in json.dumps(told)
    for file in (picture, sheet):
        assert reproduce(file, run, tmp_path / "again")[1]
    judge.rename(tmp_path / "judge-elsewhere")
    assert reproduce(picture, run, tmp_path / "again")[1]  # found by its weights
    (tmp_path / "judge-elsewhere").rename(tmp_path / "out" / "far")
    with pytest.raises(ValueError, match="no run near"):
        reproduce(picture, run, tmp_path / "again")


def test_one_scale_means_the_rule_that_is_there(tmp_path: Path) -> None:
    run = made("digits", tmp_path / "run")
    assert scaled(run, []) == "CFG" and scaled(run, ["guidance.APG.norm=2"]) == "APG"
    assert scaled(run, ["guidance.Classifier.run=x"]) == "Classifier" and scaled(run, ["guidance.CFG.away.label=3"]) == "CFG"
    model = unnoise.load(run, overrides=["guidance.CFG.interval=[0.2, 2.0]"])
    assert list(model.recipe.members("guidance")) == ["CFG", "Clip"]
    mine = model.sample(2, scale=3.0)
    assert torch.equal(mine, model.sample(2, guidance=[CFG(3.0, (0.2, 2.0)), model.guidance[1]]))
    assert not torch.equal(mine, model.sample(2, guidance=[CFG(3.0), model.guidance[1]]))


def test_the_command_line_asks_how_strongly(tmp_path: Path) -> None:
    from unnoise.cli.verbs.sample import sample as verb

    with pytest.raises(ValueError, match="needs --scale"):
        verb(tmp_path, classifier=tmp_path, n=None, seeds=None, scale=None)


def test_a_run_names_only_what_lies_inside_itself(tmp_path: Path) -> None:
    outside, run = made("digits", tmp_path / "outside"), made("digits", tmp_path / "run")
    text = (run / "recipe.toml").read_text()
    for named in (str(outside), "../outside", "guide/../../outside"):
        (run / "recipe.toml").write_text(text + f"\n[guidance.Auto]\nrun = {json.dumps(named)}\nscale = 2.0\n")
        with pytest.raises(ValueError, match="not read unasked"):
            unnoise.load(run)
        asked = unnoise.load(run, overrides=[f"guidance.Auto.run={json.dumps(str(outside))}"])
        assert asked.sample(1).isfinite().all()
    (run / "recipe.toml").write_text(text + '\n[guidance.Auto]\nrun = "guide"\nscale = 2.0\n')
    (run / "guide").symlink_to(outside)
    with pytest.raises(ValueError, match="not read unasked"):
        unnoise.load(run)
    (run / "guide").unlink()
    outside.rename(run / "guide")
    run.rename(tmp_path / "moved")
    assert unnoise.load(tmp_path / "moved").sample(1).isfinite().all()


def test_a_saved_model_takes_its_guides_along(tmp_path: Path) -> None:
    outside, run = made("digits", tmp_path / "outside", "train.Trainer.seed=5"), made("digits", tmp_path / "run")
    model = unnoise.load(run, overrides=[f"guidance.Auto.run={json.dumps(str(outside))}", "guidance.Auto.scale=2.0"])
    expected = model.sample(1)
    model.save(tmp_path / "first")
    shutil.rmtree(outside)
    shutil.rmtree(run)
    (tmp_path / "first").rename(tmp_path / "moved")
    back = unnoise.load(tmp_path / "moved")
    assert torch.equal(back.sample(1), expected)
    for name in ("moved", "again"):  # where it was loaded from, and elsewhere
        back.save(tmp_path / name)
        assert str(tmp_path) not in (tmp_path / name / "recipe.toml").read_text()
        assert 'run = "guides/Auto"' in (tmp_path / name / "recipe.toml").read_text()
    shutil.rmtree(tmp_path / "moved")
    assert torch.equal(unnoise.load(tmp_path / "again").sample(1), expected)


def test_guides_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    judge, run = made("classifier-digits", tmp_path / "judge"), made("digits", tmp_path / "run")
    model = unnoise.load(run)
    for rules, message in (
        ([Classifier(str(run))], "is no classifier"),
        ([Auto(str(judge), 2.0)], "is a classifier"),
        ([Auto(str(tmp_path / "nothing"), 2.0)], "no run folder"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            model.sample(1, cond={"label": 1}, guidance=rules)
        assert "\n" not in str(error.value)
    for changes in (["loss=Denoising"], ["domain=Points"], [ALONE]):
        with pytest.raises(RecipeError):
            Model(Recipe.read("classifier-digits", changes))
    with pytest.raises(RecipeError, match="CrossEntropy"):
        Recipe.read("digits", ["loss=CrossEntropy"])
