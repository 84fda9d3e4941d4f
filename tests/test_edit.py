"""Editing: masks to the byte, sizes and modes of the input, tasks, metadata, and one line for what cannot be."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from unnoise.codec import Codec
from unnoise.denoiser.tiled import Tiled, starts
from unnoise.metric.pixels import psnr, ssim
from unnoise.model import Model
from unnoise.recipe import Recipe
from unnoise.task.animate import Film
from unnoise.task.edit import Wish, edit, jobs, one, score
from unnoise.task.edit.methods import members, method
from unnoise.task.edit.picture import blended
from unnoise.task.edit.travel import Travel, travel
from unnoise.task.sample import KEY, Order, reproduce
from unnoise.task.train import build

QUICK = Order([0], overrides=["model.Defaults.steps=4"])
BLURS = ["deblur:gaussian:1", "deblur:motion:3:20", "deblur:KERNEL"]


def picture(path: Path, size: tuple[int, int] = (8, 8), mode: str = "L", seed: int = 0, deep: bool = False) -> Path:
    draw = np.random.default_rng(seed)
    if deep:
        Image.fromarray(draw.integers(0, 65536, size[::-1], dtype=np.uint16)).save(path)
        return path
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "LA": (2,)}[mode]
    Image.fromarray(draw.integers(0, 256, (*size[::-1], *channels), dtype=np.uint8), mode).save(path)
    return path


def levels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def done(run: Path, files: Sequence[Path], out: Path, task: str, value: Any = None, **more: Any) -> list[Path]:
    order = more.pop("order", QUICK)
    return [p for one in edit(run, files, Wish(task, value, n=more.pop("n", 1), **more), order, out) for p in one.paths]


def test_kept_pixels_are_kept_to_the_byte(run: Path, tmp_path: Path) -> None:
    """The one statement of polarity: white is repainted, black kept; on masks of every kind, and what is between is mixed."""
    draw, file = np.random.default_rng(0), picture(tmp_path / "in.png")
    own = levels(file)
    for i in range(12):
        kind, white = i % 6, np.zeros((8, 8), np.uint8)
        if kind == 1:
            white[:] = 255
        elif kind == 2:
            white[2:6, 3:7] = 255
        elif kind == 3:
            white[:] = 255 * (draw.random((8, 8)) < 0.5)
        elif kind >= 4:
            white[:] = draw.integers(0, 256, (8, 8)) * (draw.random((8, 8)) < 0.5)
        Image.fromarray(white).save(tmp_path / "mask.png")
        (path,) = done(run, [file], tmp_path / "out", "inpaint", tmp_path / "mask.png", method="Replacement")
        made = levels(path)
        assert made.dtype == own.dtype and np.array_equal(made[white == 0], own[white == 0])
        assert white.max() < 255 or (made != own)[white == 255].mean() > 0.5


def test_a_hundred_masks_keep_what_is_black() -> None:
    draw = np.random.default_rng(1)
    for i in range(100):
        depth = (np.uint8, np.uint16)[i % 2]
        top, size = np.iinfo(depth).max, (int(draw.integers(1, 40)), int(draw.integers(1, 40)))
        made, own = (draw.integers(0, top + 1, (3, *size)).astype(depth) for _ in range(2))
        kind = i % 5
        soft = draw.random(size) * (draw.random(size) < 0.5)
        repaint = {0: np.zeros(size), 1: np.ones(size), 2: (soft > 0).astype(float), 3: soft, 4: soft * 1e-3}[kind]
        mixed = blended(made, own, repaint)
        black, white = np.broadcast_to(repaint == 0, mixed.shape), np.broadcast_to(repaint == 1, mixed.shape)
        assert mixed.dtype == depth and np.array_equal(mixed[black], own[black]) and np.array_equal(mixed[white], made[white])
        low, high = np.minimum(made, own), np.maximum(made, own)
        assert (mixed >= low).all() and (mixed <= high).all()


@pytest.mark.parametrize(
    ("size", "mode", "deep"),
    [((8, 8), "L", False), ((8, 8), "RGB", False), ((13, 10), "RGBA", False), ((5, 9), "LA", False), ((20, 8), "L", True)],
)
def test_mode_and_size_are_those_of_the_input(run: Path, tmp_path: Path, size: tuple[int, int], mode: str, deep: bool) -> None:
    """Also where they are not the model's: larger pictures are done in tiles, smaller ones on a larger canvas."""
    file, half = picture(tmp_path / "in.png", size, mode, deep=deep), np.zeros(size[::-1], np.uint8)
    half[: size[1] // 2] = 255
    Image.fromarray(half).save(tmp_path / "mask.png")
    for task, value in (("inpaint", tmp_path / "mask.png"), ("denoise", None), ("vary", 0.4)):
        (path,) = done(run, [file], tmp_path / task, task, value)
        made, own = Image.open(path), Image.open(file)
        assert made.size == own.size
        assert made.mode == ("RGBA" if mode == "LA" else own.mode)
        if task == "inpaint" and mode != "LA":
            assert np.array_equal(np.asarray(made)[half == 0], np.asarray(own)[half == 0])
        assert mode != "RGBA" or task == "inpaint" or np.array_equal(np.asarray(made)[..., 3], np.asarray(own)[..., 3])


def test_outpainting_and_enlarging_change_the_size(run: Path, tmp_path: Path) -> None:
    file = picture(tmp_path / "in.png", (6, 4))
    (wide,) = done(run, [file], tmp_path / "a", "outpaint", [3, 1, 2, 5])
    made = levels(wide)
    assert made.shape == (10, 11) and np.array_equal(made[1:5, 3:9], levels(file))
    (large,) = done(run, [file], tmp_path / "b", "upscale", 3)
    assert levels(large).shape == (12, 18)


@pytest.mark.parametrize("damage", [*BLURS, "jpeg:30", "quantize:4", "clip:-0.5:0.5", "fourier:SAMPLED"])
def test_damages(run: Path, tmp_path: Path, damage: str) -> None:
    kernel = np.zeros((3, 3), np.uint8)
    kernel[1] = 255
    Image.fromarray(kernel).save(tmp_path / "kernel.png")
    Image.fromarray(255 * np.tri(8, dtype=np.uint8)).save(tmp_path / "sampled.png")
    text = damage.replace("KERNEL", str(tmp_path / "kernel.png")).replace("SAMPLED", str(tmp_path / "sampled.png"))
    (path,) = done(run, [picture(tmp_path / "in.png")], tmp_path / "out", "restore", text)
    assert levels(path).shape == (8, 8)


@pytest.mark.parametrize("name", sorted(members()))
def test_every_method_inpaints(run: Path, tmp_path: Path, name: str) -> None:
    Image.fromarray(np.tri(8, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    more: dict[str, Any] = {"noise": 30.0, "order": Order([0], overrides=["model.Defaults.steps=12"])}
    (path,) = done(run, [picture(tmp_path / "in.png")], tmp_path / "out", "inpaint", tmp_path / "mask.png", method=name, **more)
    assert levels(path).shape == (8, 8)


@pytest.mark.parametrize(("task", "value", "name"), [("upscale", 2, "DPS"), ("denoise", None, "Twisted"), ("vary", 0.6, "")])
def test_results_in_pairs(run: Path, tmp_path: Path, task: str, value: Any, name: str) -> None:
    """Of each pair one is the result of its seed alone, the other has its noise turned; the file says which."""
    file = picture(tmp_path / "in.png")
    alone, pairs = (
        done(
            run,
            [file],
            tmp_path / str(paired),
            task,
            value,
            n=4,
            method=name,
            noise=None if task == "vary" else 20.0,
            pairs=paired,
        )
        for paired in (False, True)
    )
    assert np.array_equal(levels(alone[0]), levels(pairs[0])) and np.array_equal(levels(alone[1]), levels(pairs[2]))
    assert not np.array_equal(levels(pairs[0]), levels(pairs[1])) and not np.array_equal(levels(pairs[2]), levels(pairs[3]))
    told = [json.loads(Image.open(path).text[KEY]) for path in pairs]  # type: ignore[attr-defined]
    assert [(one["seed"], one["mirrored"]) for one in told] == [(0, False), (0, True), (1, False), (1, True)]


def test_results_have_seeds_metadata_and_one_sheet(run: Path, tmp_path: Path) -> None:
    files = [picture(tmp_path / f"{name}.png", seed=i) for i, name in enumerate("ab")]
    reference = tmp_path / "a.png"
    wish = Wish("denoise", n=3, reference=reference, noise=20.0)
    (first, second) = edit(run, files, wish, QUICK, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *(f"{x}-{k}.png" for x in "ab" for k in range(3)),
        "sheet.png",
    ]
    told = [json.loads(Image.open(path).text[KEY]) for path in first.paths]
    assert [one["seed"] for one in told] == [0, 1, 2]
    assert (
        told[0]["edit"]["task"] == "denoise" and told[0]["edit"]["noise"] == pytest.approx(20) and len(told[0]["weights"]) == 64
    )
    with pytest.raises(ValueError, match="unnoise edit"):
        reproduce(first.paths[0])
    assert first.noise == pytest.approx(20) and set(first.scores) == {"baseline", "mean", "sample"}
    assert first.scores["baseline"]["PSNR"] > 60 > second.scores["baseline"]["PSNR"]
    again = edit(run, files[1:], wish, Order([1], overrides=QUICK.overrides), tmp_path / "again")
    assert np.array_equal(levels(again[0].paths[0]), levels(second.paths[1])), "seed 1 is seed 1"


@pytest.mark.parametrize(
    ("task", "value", "more", "said"),
    [
        ("inpaint", "small", {}, "expected the same"),
        ("inpaint", "nowhere.png", {}, "nowhere.png"),
        ("outpaint", [1, 2, 3], {}, "four margins"),
        ("outpaint", [0, 0, 0, 0], {}, "four margins"),
        ("upscale", 1, {}, "whole number"),
        ("colorize", None, {}, "channels"),
        ("restore", "deblur", {}, "expected deblur"),
        ("restore", "jpeg:0", {}, "quality"),
        ("vary", 1.5, {}, "strength"),
        ("vary", 0.5, {"method": "DPS"}, "no other method"),
        ("denoise", None, {"method": "PiGMD"}, "did you mean PiGDM"),
        ("denoise", None, {"method": "PiGDM:spred=1"}, "expected options"),
        ("denoise", None, {"method": "PiGDM:spread=a"}, "no number"),
        ("denoise", None, {"reference": "small"}, "the result has"),
        ("sharpen", None, {}, "expected one of"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    run: Path, tmp_path: Path, task: str, value: Any, more: dict[str, Any], said: str
) -> None:
    small = picture(tmp_path / "small.png", (5, 5))
    value = small if value == "small" else value
    more = {key: small if text == "small" else text for key, text in more.items()}
    with pytest.raises(ValueError, match=said) as caught:
        done(run, [picture(tmp_path / "in.png")], tmp_path / "out", task, value, **more)
    assert "\n" not in str(caught.value)


class Halved(Codec):
    """A latent of half the sides, and three times the values: pairs of neighbours kept apart."""

    def shape(self, data: Sequence[int]) -> tuple[int, ...]:
        return 4 * data[0], data[1] // 2, data[2] // 2

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pixel_unshuffle(x, 2)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pixel_shuffle(z, 2)


@pytest.mark.parametrize(
    ("task", "value", "method"),
    [
        ("inpaint", "mask", ""),
        ("upscale", 2, "DPS"),
        ("restore", "deblur:gaussian:1", ""),
        ("denoise", None, ""),
        ("vary", 0.3, ""),
    ],
)
def test_latent_models_edit_as_others_do(tmp_path: Path, task: str, value: Any, method: str) -> None:
    """What is measured is measured of the decoded picture; larger ones are tiled in latents."""
    changes = ["network.UNet.width=8", "network.UNet.heads=1", "network.UNet.multipliers=[1]", "network.UNet.attention=[]"]
    recipe = Recipe.read("digits", [*changes, *QUICK.overrides])
    recipe.sections["codec"] = {f"{__name__}:Halved": {}}
    white, own = np.tri(12, dtype=np.uint8)[::-1] * 255, picture(tmp_path / "in.png", (12, 12))
    Image.fromarray(white).save(tmp_path / "mask.png")
    wish = Wish(task, tmp_path / "mask.png" if value == "mask" else value, method, n=2)
    made = one(build(recipe, seed=1), own, wish, [0, 1], {}, 1)
    assert made.levels.shape == ((2, 1, 24, 24) if task == "upscale" else (2, 1, 12, 12))
    if task == "inpaint":
        assert np.array_equal(made.levels[0, 0][white == 0], levels(own)[white == 0])


def test_tiles_of_an_independent_denoiser_are_the_whole() -> None:
    """Where each pixel is denoised alone, tiles change nothing; and they cover every side."""

    class Alone:
        schedule, conds = Model, {}  # type: ignore[var-annotated]

        def answer(self, x_t: torch.Tensor, t: float, cond: Any = None) -> Any:
            from unnoise.denoiser import Answer

            assert x_t.shape[-2:] == (8, 8)
            return Answer(x_t.tanh())

    x = torch.randn(2, 1, 19, 8)
    answer = Tiled(Alone(), (8, 8)).answer(x, 0.5)  # type: ignore[arg-type]
    torch.testing.assert_close(answer.x0, x.tanh())
    assert answer.nfe == len(starts(19, 8, 0.5)) == 4
    for side in range(8, 60):
        places = starts(side, 8, 0.25)
        assert places[0] == 0 and places[-1] == side - 8
        assert all(b - a <= 6 for a, b in itertools.pairwise(places))


def test_methods_take_options() -> None:
    measured = jobs.Measurement(jobs.Identity(), torch.zeros(1, 1, 8, 8), 0.1)
    chosen = method("repaint:jump=3,resamplings=2", measured).sampler
    assert (chosen.jump, chosen.resamplings) == (3, 2)  # type: ignore[attr-defined]


def test_nearness() -> None:
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    assert psnr(x, x) == float("inf") and ssim(x, x) == pytest.approx(1)
    assert psnr(x, x + 0.2) == pytest.approx(20.0, abs=1e-4)
    assert 0.3 < ssim(x, x + 0.3 * torch.randn_like(x)) < 0.98
    assert ssim(x[..., :5, :7], x[..., :5, :7].flip(-1)) < 0.9


@pytest.mark.parametrize("loop", [False, True])
def test_a_film_joins_two_pictures(run: Path, tmp_path: Path, loop: bool) -> None:
    files = [picture(tmp_path / f"{name}.png", seed=i) for i, name in enumerate("ab")]
    wish = Travel(7, loop, Film("webp", 60))
    made = travel(run, files, wish, Order([0], overrides=["model.Defaults.steps=20"]), tmp_path / "out")
    with Image.open(made.path) as film:
        assert film.n_frames == (12 if loop else 7) and film.info["loop"] == 0
        shown, factor = [], film.width // 8
        for k in range(film.n_frames):
            film.seek(k)
            shown.append(np.asarray(film.convert("L"), dtype=np.float64)[::factor, ::factor])
    assert min(made.ends) >= 25 and made.unevenness < 2
    for end, file in zip((shown[0], shown[6]), files, strict=True):
        assert np.abs(end - levels(file)).mean() < 4
    if loop:  # what follows the last frame is the first: the way back mirrors the way there
        assert all(np.array_equal(shown[6 + k], shown[6 - k]) for k in range(1, 6))
    assert (tmp_path / "out" / "sheet.png").is_file()


def test_what_cannot_be_joined(run: Path, tmp_path: Path) -> None:
    small, right = picture(tmp_path / "small.png", (5, 5)), picture(tmp_path / "right.png")
    for files, said in (([right], "two pictures"), ([small, right], "5 x 5")):
        with pytest.raises(ValueError, match=said):
            travel(run, files, Travel(), QUICK, tmp_path)
    with pytest.raises(ValueError, match="at least 2 frames"):
        Travel(1)


def test_the_command(run: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    import unnoise.cli.verbs  # noqa: F401
    from unnoise.cli.app import app

    file, out = picture(tmp_path / "in.png"), tmp_path / "out"
    common = ["edit", str(run), str(file), "--steps", "3", "-n", "2", "--out", str(out)]
    told = CliRunner().invoke(app, [*common, "--denoise", "--noise", "25", "--reference", str(file)])
    assert told.exit_code == 0, told.output
    assert "in-0.png .. in-1.png (noise 25.00 of 255); baseline" in told.output and "sheet.png" in told.output
    told = CliRunner().invoke(app, [*common, "--outpaint", "1,0,2,0"])
    assert told.exit_code == 0 and levels(out / "in-1.png").shape == (8, 11)
    told = CliRunner().invoke(app, [*common, "--interpolate"])
    assert isinstance(told.exception, ValueError) and "two pictures" in str(told.exception)
    for extra, said in ((["--denoise", "--colorize"], "given 2"), ([], "given 0"), (["--denoise", "-n", "0"], "at least one")):
        told = CliRunner().invoke(app, [*common, *extra])
        assert isinstance(told.exception, ValueError) and said in str(told.exception)


def test_results_are_scored_by_lpips_where_its_weights_are(run: Path, tmp_path: Path) -> None:
    """Whose numbers tests/laws/test_perceptual.py compares with the package's; here: read from files, and asked for rightly."""
    sizes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    network = {f"features.{k}.weight": 0.03 * torch.randn(out, before, side, side) for k, (out, before, side) in sizes.items()}
    network |= {f"features.{k}.bias": torch.zeros(out) for k, (out, _, _) in sizes.items()}
    linear = {f"lin{k}.model.1.weight": torch.rand(1, out, 1, 1) for k, (out, _, _) in enumerate(sizes.values())}
    torch.save(network, tmp_path / "alexnet.pth")
    save_file(linear, tmp_path / "linear.safetensors")
    distance = score.lpips([tmp_path / "alexnet.pth", tmp_path / "linear.safetensors"])
    x = torch.rand(3, 1, 40, 40) * 2 - 1
    found = score.scores(x[:1], x, x[:1], distance)
    assert found["baseline"]["LPIPS"] == 0 < found["sample"]["LPIPS"] and set(found["mean"]) == {"PSNR", "SSIM", "LPIPS"}
    with pytest.raises(ValueError, match="give it a --reference"):
        done(run, [picture(tmp_path / "in.png")], tmp_path / "out", "denoise", lpips=[tmp_path / "alexnet.pth"])
    with pytest.raises(ValueError, match="no network of LPIPS"):
        score.lpips([tmp_path / "linear.safetensors"])
