"""The length of the weights' average, chosen after training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.test_cli import TINY, unnoise
from unnoise.metric import Estimate
from unnoise.model import load
from unnoise.task.evaluate import Wish
from unnoise.task.pages import charts
from unnoise.task.sweep import lengths as module
from unnoise.task.sweep.grid import Bench
from unnoise.task.sweep.lengths import FILE, lengths, read
from unnoise.train import read_weights, reconstruct

WISH = Wish(n=16, features="raw")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("lengths") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        kept = "--set=train.Trainer.ema_lengths=[0.05, 0.1]"
        assert unnoise(monkeypatch, "train", "digits", "--out", run, *TINY, kept, "--no-report") == 0
    return run


class Judge(Bench):
    """A bench that finds weights the better the nearer they are to those of one length."""

    best: dict[str, torch.Tensor] = {}

    def __init__(self, model, wish, say) -> None:
        self.model, self.wish, self.real, self.protocol = model, wish, {}, "by nearness"

    def point(self, setting, seed=None, n=None):
        weights = dict(self.model.denoiser.named_parameters())
        far = sum(float((weights[name] - weight).square().sum()) for name, weight in self.best.items()) ** 0.5
        return type("Point", (), {"numbers": {"frechet": Estimate(far, far - 1e-9, far + 1e-9)}})


def test_the_best_length_becomes_the_weights_of_the_run(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (wanted,) = reconstruct(trained, [0.08])
    monkeypatch.setattr(Judge, "best", wanted)
    monkeypatch.setattr(module, "Bench", Judge)
    before, lines = read_weights(trained / "weights.safetensors"), []
    found = lengths(trained, [0.2, 0.05, 0.08], WISH, lines.append)
    assert found.chosen == 0.08 and found.stored and list(found.points) == [0.05, 0.08, 0.2] and len(lines) == 4
    weights, header = read_weights(trained / "weights.safetensors")
    assert header == {**before[1], "ema_length": "0.08"} and weights.keys() == before[0].keys()
    for name, weight in load(trained).denoiser.named_parameters():
        assert torch.equal(weight, wanted[name])
    assert read(trained) == found and "length of the average" in charts.against_lengths(
        {length: one["frechet"] for length, one in found.points.items()}, found.present["frechet"], None, found.chosen
    )
    again = lengths(trained, [0.05, 0.08], WISH, lines.append)
    assert not again.stored and again.before == again.after, "what is no better changes nothing"


def test_it_is_one_command(trained: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path))
    command = ["sweep", trained, "--ema", "0.04..0.08", "-n", 16, "--features", "raw"]
    assert unnoise(monkeypatch, *command) == 0
    told, text = json.loads((trained / FILE).read_text()), capsys.readouterr().out
    assert [one["length"] for one in told["points"]] == [0.04, 0.0566, 0.08] and "on fresh seeds" in text
    assert set(told["points"][0]["frechet"]) == {"value", "low", "high"} and not (trained / "sweep.json").exists()
    for options, words in ((["--ema", "0.2..0.1"], "a range"), (["--ema", "x"], "numbers"), (["--ema", "0.5"], "below 0.289")):
        assert unnoise(monkeypatch, "sweep", trained, *options) == 2
        assert words in capsys.readouterr().err
    (trained / "averages").rename(tmp_path / "gone")
    assert unnoise(monkeypatch, *command) == 2
    assert "ema_lengths=[0.05,0.1]" in capsys.readouterr().err
