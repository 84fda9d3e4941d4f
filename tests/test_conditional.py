"""Models that are trained to undo a measurement, from recipe to edited picture; cascades of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.domain import Digits
from unnoise.metric.pixels import psnr
from unnoise.model import load
from unnoise.operator import Downsample
from unnoise.recipe import Recipe, RecipeError
from unnoise.task import cascade
from unnoise.task.edit import Wish, edit
from unnoise.task.sample import KEY, Order, reproduce
from unnoise.task.train import train
from unnoise.tensor import Rng

SMALL = [
    "network.UNet.width=16", "network.UNet.attention=[]", "train.Trainer.steps=100", "train.Trainer.batch=32",
    "train.Trainer.save_every=200", "train.Trainer.validate_every=0", "train.Trainer.preview_every=0",
    "train.Trainer.tensorboard=false", "model.Defaults.steps=8", "model.Defaults.batch=8",
]  # fmt: skip
LARGER = """
schedule = "Cosine"
denoiser = "Centred"
[prediction.edm]
sigma_data = 0.3
[domain.Digits]
[operator.Downsample]
factor = 2
[network.UNet]
width = 16
multipliers = [1, 2]
blocks = 1
attention = []
[loss.Denoising]
[guidance.Clip]
[train.Trainer]
steps = 1
batch = 1
lr = 3e-3
warmup = 20
decay = "cosine"
ema = 0.99
[model.Defaults]
"""


def made(recipe: Recipe, out: Path) -> Path:
    train(recipe, out, device="cpu", report=False, say=lambda line: None)
    return out


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(Recipe.parse(LARGER, SMALL), tmp_path_factory.mktemp("runs") / "larger")


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(
        Recipe.read("inpaint-digits", [*SMALL, "train.Trainer.steps=200", "train.Trainer.lr=5e-3", "train.Trainer.ema=0.98"]),
        tmp_path_factory.mktemp("runs") / "painter",
    )


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return Digits().dataset("test").batch(torch.arange(64))["x"]


LABELS = Digits().dataset("test").batch(torch.arange(64))["label"]


def write(x: torch.Tensor, path: Path) -> Path:
    Image.fromarray(((x[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()).save(path)
    return path


def test_training_learns_what_the_measurement_does_not_say(larger: Path, painter: Path, digits: torch.Tensor) -> None:
    """What is believed of pure noise, the mean of all samples, is nearer to held-out digits than the mean digit put in."""
    keys, mean = Rng(5, torch.arange(len(digits))), Digits().dataset("train").batch(torch.arange(1000))["x"].mean(0)
    for run in (larger, painter):
        model = load(run)
        shown = model.shown
        assert shown
        cond = {**shown.of(digits, keys), "label": LABELS}
        with torch.no_grad():
            mean_of_samples = model.denoiser(keys.normal((1, 8, 8), "x"), 1.0, cond)
        known = shown.centre(digits, cond)
        guess = shown.consistent(mean.expand_as(digits), known, cond)
        found, before = psnr(mean_of_samples, digits), max(psnr(guess, digits), psnr(known, digits))
        assert found > before + 0.5, (run.name, found, before)
        some = {name: value[:1].expand(8, *value.shape[1:]) for name, value in cond.items()}
        assert model.sample(8, cond=some).std(0).mean() > 0.03  # and samples differ


def test_a_resumed_run_draws_what_an_uninterrupted_one_draws(tmp_path: Path) -> None:
    few = [*SMALL, "train.Trainer.steps=12", "train.Trainer.save_every=6", "train.Trainer.keep=3"]
    whole = made(Recipe.read("inpaint-digits", few), tmp_path / "whole")
    again = tmp_path / "again"
    (again / "state").mkdir(parents=True)
    (whole / "state" / "step-12").rename(tmp_path / "last")
    for file in (whole / "state").iterdir():
        file.rename(again / "state" / file.name)
    made(Recipe.read("inpaint-digits", few), again)
    name = "state.safetensors"
    assert (again / "state" / "step-12" / name).read_bytes() == (tmp_path / "last" / name).read_bytes()


def test_a_sample_without_a_picture_is_of_a_held_out_one_of_its_class(painter: Path) -> None:
    model = load(painter)
    given = model.with_shown(model.conditions({"label": [3, 3, 8, None]}, 4), [1, 2, 3, 4])
    held = Digits().dataset("val").batch(torch.arange(len(Digits().dataset("val"))))
    for i, label in enumerate([3, 3, 8]):
        kept = 1 - given["hole"][i]
        same = (kept * (held["x"] - given["seen"][i])).abs().amax((1, 2, 3)) == 0
        assert label in held["label"][same].tolist()
    alone = model.with_shown(model.conditions({"label": 8}, 1), [3])
    assert torch.equal(alone["seen"][0], given["seen"][2])
    x = model.sample(seeds=[1, 2, 3, 4], cond={"label": [3, 3, 8, None]})
    assert torch.allclose((1 - given["hole"]) * x, given["seen"], atol=1e-5)


def test_edit_asks_the_run_itself(larger: Path, painter: Path, digits: torch.Tensor, tmp_path: Path) -> None:
    """Enlarging with the run's own sampler: what comes out measures as what went in, also of other sizes than the model's."""
    for size in (4, 3, 9):
        small = torch.nn.functional.interpolate(digits[:1], size=size, mode="area")[0]
        file = write(small, tmp_path / f"in{size}.png")
        (one,) = edit(larger, [file], Wish("upscale", 2, n=3), Order([0]), tmp_path / "out")
        out = torch.stack([torch.from_numpy(np.array(Image.open(path))).float() for path in one.paths])
        assert out.shape == (3, 2 * size, 2 * size) and out.std(0).max() > 1
        back = Downsample(2)(out[:, None] / 127.5 - 1)
        inside = (out > 0).all() and (out < 255).all()
        assert not inside or psnr(back, small.expand_as(back)) > 30
        about = json.loads(Image.open(one.paths[0]).text[KEY])  # type: ignore[attr-defined]
        assert about["edit"]["method"] == "its own" and about["steps"] == 8
    file, white = write(digits[0], tmp_path / "digit.png"), np.zeros((8, 8), np.uint8)
    white[:, :4] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    (one,) = edit(painter, [file], Wish("inpaint", tmp_path / "mask.png", n=2), Order([0], {"label": 3}), tmp_path / "painted")
    for path in one.paths:
        assert np.array_equal(np.array(Image.open(path))[:, 4:], np.array(Image.open(file))[:, 4:])


def test_edit_refuses_what_the_run_was_not_trained_for(larger: Path, digits: torch.Tensor, tmp_path: Path) -> None:
    file = write(digits[0], tmp_path / "in.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "mask.png")
    for wish, match in (
        (Wish("upscale", 4), "trained to undo Downsample"),
        (Wish("inpaint", tmp_path / "mask.png"), "Mask is another task"),
        (Wish("vary", 0.5), "nothing else"),
        (Wish("upscale", 2, method="DDRM"), "takes no method"),
    ):
        with pytest.raises(ValueError, match=match):
            edit(larger, [file], wish, Order([0]), tmp_path / "out")


def test_a_regression_is_the_same_whatever_the_noise(tmp_path: Path, digits: torch.Tensor) -> None:
    text = LARGER.replace("[prediction.edm]\nsigma_data = 0.3", "[prediction.blind]\n[level.alpha]\nscale = 0.0\n[times.One]")
    model = load(made(Recipe.parse(text, [*SMALL, "model.Defaults.steps=1"]), tmp_path / "regression"))
    assert model.shown
    cond = model.shown.of(digits[:8], Rng(range(8)))
    x = model.sample(seeds=range(8), cond=cond)
    assert torch.equal(x, model.sample(seeds=range(9, 17), cond=cond))
    assert psnr(x, digits[:8]) > psnr(cond["seen"], digits[:8]) + 1


def test_recipes_that_do_not_fit_are_refused() -> None:
    from unnoise.model import Model

    with pytest.raises(RecipeError, match="'shown' must be given"):
        Model(Recipe.parse(LARGER.replace("[operator.Downsample]\nfactor = 2", "")))
    with pytest.raises(RecipeError, match="of pictures"):
        Model(Recipe.parse(LARGER.replace("[domain.Digits]", "[domain.Points]").replace('"Centred"', '"Denoiser"')))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade of 4 x 4 and 8 x 8 digits: the folder of its file."""
    folder = tmp_path_factory.mktemp("cascade")
    data = Digits().dataset("train").batch(torch.arange(300))
    for i, (x, label) in enumerate(zip(data["x"], data["label"].tolist(), strict=True)):
        (folder / "data" / str(label)).mkdir(parents=True, exist_ok=True)
        write(x, folder / "data" / str(label) / f"{i}.png")
    where = [f"domain.Images.root={str(folder / 'data')!r}", "network.UNet.multipliers=[1,2]"]
    where += ["train.Trainer.steps=30"]
    base = [*SMALL, *where, "domain.Images.size=4", "domain.Images.resize=bicubic"]
    made(Recipe.read("mnist", base), folder / "base")
    made(Recipe.read("larger-mnist", [*SMALL, *where, "domain.Images.size=8"]), folder / "larger")
    (folder / "cascade.toml").write_text('runs = ["base", "larger"]\nnoise = 0.05\n')
    return folder


def test_a_cascade_is_sampled_in_one_call(runs: Path, tmp_path: Path) -> None:
    order = Order([4, 7, 9], {"label": ["1", "3", "3"]})
    paths = cascade.sample(runs, order, tmp_path / "a")
    assert [path.name for path in paths] == ["4.png", "7.png", "9.png", "grid.png"]
    (alone, _) = cascade.sample(runs / "cascade.toml", Order([9], {"label": "3"}), tmp_path / "b")
    assert alone.read_bytes() == paths[2].read_bytes()
    about = json.loads(Image.open(alone).text[KEY])  # type: ignore[attr-defined]
    assert about["cond"] == {"label": "3"} and about["cascade"]["noise"] == 0.05
    assert about["cascade"]["runs"][0]["weights"] == load(runs / "base").digest
    small = load(runs / "base").sample(seeds=[9], cond={"label": 3}).clamp(-1, 1)
    large = torch.from_numpy(np.array(Image.open(alone))).float()[None, None] / 127.5 - 1
    assert psnr(Downsample(2)(large), small) > 14  # it is the larger version of just that sample, up to the noise
    with pytest.raises(ValueError, match="made by a cascade"):
        reproduce(alone)


def test_a_cascade_says_what_is_wrong_with_it(runs: Path, tmp_path: Path) -> None:
    def told(text: str, match: str, cond: dict | None = None) -> None:
        (runs / "other.toml").write_text(text)
        with pytest.raises(ValueError, match=match):
            cascade.sample(runs / "other.toml", Order([0], cond), tmp_path)

    told('runs = ["base"]', "expected runs = ")
    told('runs = ["base", "larger"]\nsteps = 3', "and nothing else")
    told('runs = ["base", "larger"', "not a cascade")
    told('runs = ["base", "/etc"]', "outside of its folder")
    told('runs = ["larger", "larger"]', r"is shown \(1, 4, 4\), and the one before makes \(1, 8, 8\)")
    told('runs = ["base", "base"]', "enlarges nothing")
    told('runs = ["base", "larger"]', "no condition 'lable'", {"lable": 3})
