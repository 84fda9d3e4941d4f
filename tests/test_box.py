"""No run named is the model in the box: small, in the package, or one line where none is; conditions by a class alone.

What the commands do is tried with a stand-in of random weights, so that it holds whatever model is in the box.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import unnoise
from unnoise import box
from unnoise.cli import run as entry
from unnoise.condition import Condition, named
from unnoise.task.sample import read, reproduce
from unnoise.train import read_weights

CONDS = {"label": Condition(classes=("face", "flag", "hand")), "tone": Condition(classes=("dark", "light")), "size": Condition()}
QUICK = ["--steps", "2", "--threads", "1", "--set", "model.Defaults.batch=2"]


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["unnoise", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        entry()
    return int(left.value.code or 0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Path) -> Path:
    """An empty working folder, and the stand-in in the box."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(box, "BOX", run)
    return tmp_path


def test_what_is_in_the_package_is_small_and_says_whose_the_data_are() -> None:
    if not box.BOX.exists():  # until one is trained there is none
        with pytest.raises(ValueError, match="unnoise train"):
            box.box()
        return
    weights = box.BOX / "weights.safetensors"
    assert weights.stat().st_size <= 4_000_000
    assert {one.dtype for one in read_weights(weights)[0].values()} == {torch.float16}
    card = (box.BOX / "README.md").read_text("utf-8")
    for told in ("CC BY 4.0", "EmojiTwo", "nearest training", "of what new data are"):
        assert told in card
    assert "CC BY 4.0" in box.KNOWS and unnoise.load().sample(1, steps=1).isfinite().all()


def test_sampling_without_a_run(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(monkeypatch, "sample", "-n", 2, "--cond", "7", *QUICK) == 0
    told = capsys.readouterr().err.strip().splitlines()
    assert sum("model in the box" in line for line in told) == 1
    files = sorted(here.glob("box/samples/*.png"))
    assert [file.name for file in files] == ["0.png", "1.png", "grid.png"]
    assert not list(box.BOX.glob("**/*.png"))
    assert read(files[0])["cond"] == {"label": "7"}
    assert reproduce(files[0])[1]  # found by its weights


def test_python_and_the_command_line_have_the_same_model(here: Path) -> None:
    model = unnoise.load()
    assert model.digest == unnoise.load(box.BOX).digest
    assert torch.equal(model.sample(2, steps=2, cond={"7": True}), model.sample(2, steps=2, cond={"label": "7"}))


def test_editing_and_explaining_without_a_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.full((8, 8), 180, np.uint8)).save(here / "in.png")
    assert called(monkeypatch, "edit", "in.png", "--vary", "0.4", "-n", 1, *QUICK) == 0
    assert (here / "box/edited/in-0.png").is_file()
    assert called(monkeypatch, "explain", "in.png", "--steps", 4, "--threads", 1) == 0
    assert (here / "explain.html").is_file()


def test_serving_without_a_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unnoise.serve import server

    asked: list[server.Order] = []
    monkeypatch.setattr(server, "serve", lambda order, level: asked.append(order))
    assert called(monkeypatch, "serve") == 0
    assert [order.runs for order in asked] == [[box.BOX]]


@pytest.mark.parametrize("verb", [["sample"], ["edit", "in.png", "--denoise"], ["serve"], ["explain"]])
def test_an_empty_box_is_one_line(
    verb: list[str], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(box, "BOX", here / "none")
    assert called(monkeypatch, *verb) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "no run is named" in line and "unnoise train digits" in line


@pytest.mark.parametrize(("word", "meant"), [("77", "'7'"), ("label=55", "'5'"), ("zzz", "there are 0, 1, 2")])
def test_a_wrong_name_is_one_line_with_the_nearest(
    word: str, meant: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, "sample", "--cond", word, *QUICK) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert meant in line and word.rpartition("=")[2] in line


def test_a_class_alone_names_its_condition() -> None:
    assert named({"flag": True, "size": 3.0}, CONDS) == {"label": "flag", "size": 3.0}
    assert named({"dark": True, "hand": True}, CONDS) == {"label": "hand", "tone": "dark"}
    assert named({"label": 1, "size": True}, CONDS) == {"label": 1, "size": True}
    for wrong in ({"label": True}, {"flag": True, "hand": True}, {"flag": True, "label": "hand"}, {"red": True}):
        with pytest.raises(ValueError, match="class"):
            named(wrong, CONDS)
    with pytest.raises(ValueError, match="NAME="):
        named({"face": True}, {**CONDS, "other": Condition(classes=("face",))})


def test_a_model_is_loaded_without_the_compiler(run: Path) -> None:
    """Seconds of the first picture: torch's compiler, with a computer algebra system, is imported by nobody."""
    code = f"import sys, unnoise; unnoise.load({str(run)!r}).sample(1, steps=2); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch._dynamo", "sympy", "matplotlib"} & set(loaded)
