"""Preflight: the suggestion suits the data, the command can be pasted, the forecast is of that very training."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from test_cli import pictures, unnoise

from unnoise.domain import Report
from unnoise.recipe import Recipe
from unnoise.schedule import Shifted
from unnoise.task.check import Forecast, forecast, suggest
from unnoise.task.check import measure as measuring
from unnoise.task.train import assemble, read
from unnoise.train.run import Run

pytestmark = pytest.mark.usefixtures("cache")
TINY = [
    "network.UNet.width=8",
    "network.UNet.heads=1",
    "train.Trainer.batch=8",
    "train.Trainer.steps=30",
    "model.Defaults.steps=2",
]


def report(height: int, width: int, items: int) -> Report:
    form = {"height": height, "width": width, "channels": 3}
    counts = Counter({"train": items})
    return Report("x", counts, Counter(), Counter(), Counter({f"{width} x {height}": items}), [], {}, Counter(), [], form)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("height", "width", "items"), [(8, 8, 40), (28, 28, 60_000), (32, 48, 1500), (64, 64, 9000), (128, 96, 10**6)]
)
def test_what_is_suggested_can_be_built(height: int, width: int, items: int, device: str, tmp_path: Path) -> None:
    made = suggest(report(height, width, items), tmp_path / "my data", device)
    words = shlex.split(made.command)
    assert words[:5] == ["unnoise", "train", "pictures", "--data", str(tmp_path / "my data")]
    assert [word for before, word in pairwise(words) if before == "--set"] == made.changes
    recipe = read("pictures", tmp_path / "my data", made.changes)
    network = recipe.build("network", shape=(3, height, width), conds={})
    assert network.shape == (3, height, width) and recipe.build("train").batch <= items
    schedule = recipe.build("schedule")
    assert isinstance(schedule, Shifted) == (max(height, width) > 64)


def test_the_shift_is_that_of_the_paper() -> None:
    changes = suggest(report(128, 128, 10**5), Path("x"), "cuda").changes
    assert "schedule.Shifted.shift=-1.386" in changes  # 2 log(64 / 128)


def test_own_changes_are_kept() -> None:
    made = suggest(report(28, 28, 5000), Path("x"), "cpu", own=["network.UNet.width=96", "train.Trainer.lr=1e-3"])
    assert [change for change in made.changes if "width" in change] == ["network.UNet.width=96"]
    assert made.changes[-1] == "train.Trainer.lr=1e-3"


def test_activations_grow_by_the_sample() -> None:
    setting = assemble(Recipe.read("digits", TINY), "cpu", lambda line: None)
    trainer, model = setting.trainer, setting.model
    run = Run(trainer, model.denoiser, setting.objective, setting.data, Path(), setting.prepare, setting.on)
    one, two, eight = (measuring.activations(run, rows) for rows in (1, 2, 8))
    assert eight == pytest.approx(one + 7 * (two - one), rel=0.02) and two - one > 4 * 64 * 8


@pytest.fixture(scope="module")
def told() -> Forecast:
    return forecast(Recipe.read("digits", TINY), "cpu")


def test_a_forecast_adds_up(told: Forecast) -> None:
    assert told.measured and told.fitting is None and told.seconds_per_step is not None and told.seconds is not None
    assert told.seconds == pytest.approx(30 * told.seconds_per_step + sum(s * n for s, n in told.beside.values()))
    assert {name: n for name, (_, n) in told.beside.items()} == dict.fromkeys(
        ("validate", "preview", "publish", "health", "checkpoint"), 1
    )
    assert told.memory == pytest.approx(sum(told.memory_parts.values()), rel=0.01) and told.memory > 10**8
    assert json.loads(json.dumps(told.json()))["parameters"] == told.parameters
    assert [line.split(":")[0] for line in told.lines()[1:]] == ["time", "memory", "disk"]


def test_what_does_not_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.read("digits", [*TINY, "train.Trainer.batch=512"])
    parts = measuring.measure(recipe, "cpu")["memory_parts"]
    there = parts["weights"] + parts["activations"] // 2
    monkeypatch.setattr(measuring, "free", lambda device: there)
    monkeypatch.setattr(measuring, "_steps", lambda *given: pytest.fail("steps were run"))
    found = measuring.measure(recipe, "cpu")
    assert not found["measured"] and 1 <= found["fitting"] < 512 and found["seconds_per_step"] is None
    again = measuring.measure(recipe.override(f"train.Trainer.micro_batch={found['fitting'] + 40}"), "cpu")
    assert not again["measured"] and again["fitting"] == found["fitting"]


def test_check_prints_and_gives_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = pictures(tmp_path / "mine")
    Image.open(data / "dark" / "0.png").save(data / "dark" / "again.bmp")
    assert unnoise(monkeypatch, "check", data, "--no-forecast") == 0
    text = capsys.readouterr().out
    assert "dark/0.png = dark/again.bmp" in text and "unnoise train pictures --data" in text
    assert unnoise(monkeypatch, "check", data, "--json", *(f"--set={change}" for change in TINY)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["twins"]["near"] == [["dark/0.png", "dark/again.bmp"]] and found["forecast"]["steps"] == 30
    assert "network.UNet.width=8" in found["suggestion"]["changes"]


def test_the_command_that_is_suggested_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pictures(tmp_path / "my own")
    assert unnoise(monkeypatch, "check", data, "--no-forecast") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  unnoise train ")]
    monkeypatch.chdir(tmp_path)
    soon = ["train.Trainer.steps=2", "train.Trainer.tensorboard=false", "train.Trainer.health_every=0", "model.Defaults.steps=2"]
    words = shlex.split(line)[1:]
    assert unnoise(monkeypatch, *words, "--no-report", *(f"--set={change}" for change in soon)) == 0
    run = tmp_path / words[words.index("--out") + 1]
    losses = [row["loss"] for row in map(json.loads, (run / "log.jsonl").open()) if "loss" in row and row["step"] == 2]
    assert (run / "weights.safetensors").is_file() and 0 < losses[-1] < 100


def test_a_dry_run_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    changes = [f"--set={change}" for change in [*TINY, "domain.Images.size=8"]]
    data = pictures(tmp_path / "mine")
    assert unnoise(monkeypatch, "train", "pictures", "--data", data, "--out", tmp_path / "run", "--dry-run", *changes) == 0
    text = capsys.readouterr().out
    assert "[network.UNet]" in text and "24 pictures, 0 broken" in text and "memory: " in text and not (tmp_path / "run").exists()
