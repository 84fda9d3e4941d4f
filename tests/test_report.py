"""The report of a run, on exact denoisers: every number is there, and the page needs nothing but itself."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unnoise.codec import Identity
from unnoise.condition import Condition
from unnoise.denoiser import Answer, Empirical, Gaussian
from unnoise.domain import Digits, Domain, Points
from unnoise.metric.features import classifier
from unnoise.recipe import Recipe
from unnoise.sampler import DPMpp2M, prior
from unnoise.schedule import Cosine
from unnoise.task.evaluate import features
from unnoise.task.report import report
from unnoise.tensor import Rng
from unnoise.times import LogSNR

KEYS = {
    "precision", "recall", "density", "coverage", "precision_real", "recall_real", "frechet", "frechet_real", "features",
    "compared", "nearest", "loss_by_band", "train_seconds", "cpu_seconds", "train_steps", "nfe", "steps", "samples", "parameters",
    "seconds_per_image", "recipe", "versions", "hardware",
}  # fmt: skip
LABELLED = {"accuracy", "accuracy_interval", "accuracy_real", "accuracy_by_class"}


class ByClass:
    """The exact denoiser of each class."""

    evaluations = 1

    def __init__(self, schedule: Any, members: Sequence[Any], conds: dict[str, Condition]) -> None:
        self.schedule, self.members, self.conds = schedule, members, conds

    def parameters(self) -> list[Tensor]:
        return []

    def project(self, x: Tensor, cond: Any = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: Any, cond: Any = None) -> Answer:
        label = cond["label"] if cond else torch.zeros(len(x_t), dtype=torch.long)
        x0 = torch.empty_like(x_t)
        for c in label.unique().tolist():
            x0[label == c] = self.members[c](x_t[label == c], t)
        return Answer(x0)

    def __call__(self, x_t: Tensor, t: Any, cond: Any = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


class Oracle:
    """What a report asks of a model, answered by exact denoisers."""

    device = torch.device("cpu")
    codec = Identity()

    def __init__(self, recipe: str, domain: Domain, denoiser: ByClass) -> None:
        self.recipe, self.domain, self.denoiser = Recipe.read(recipe), domain, denoiser

    def sample(self, n: int, *, seed: int, steps: int | None, cond: Any, callback: Any = None) -> Tensor:
        rng, times = Rng(range(seed, seed + n)), LogSNR()(self.denoiser.schedule, steps or 10)
        x = prior(self.denoiser.schedule, self.domain.shape, times[0], rng)
        for moment in DPMpp2M().walk(self.denoiser, x, times, cond, rng):
            if callback:
                callback(moment)
        return moment.x


def log(folder: Path) -> None:
    bands = {"0.0-0.5": 0.3, "0.5-1.0": 0.2}
    rows: list[dict[str, Any]] = [{"step": k, "loss": 1 / k, "time": {"seconds": k, "images_per_s": 64.0}} for k in (10, 20)]
    rows.append({"step": 20, "held_out": bands, "trained_on": bands, "time": {"seconds": 21}})
    rows.append({"step": 30, "held_out": bands, "trained_on": bands, "time": {"seconds": 4}})  # a resumed run's clock
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 31, "lo')


def digits(conditional: bool) -> Oracle:
    domain, schedule = Digits(), Cosine()
    rows = domain.dataset("train")
    data = rows.batch(torch.arange(len(rows)))
    sets = [data["x"][data["label"] == c].flatten(1) for c in range(10)]
    if conditional:  # Gaussians of the classes: recognisable, and no copies
        members: list[Any] = [Gaussian(schedule, x.mean(0), x.T.cov() + 1e-4 * torch.eye(64)) for x in sets]
        return Oracle("digits", domain, ByClass(schedule, members, domain.conds))
    return Oracle("digits", domain, ByClass(schedule, [Empirical(schedule, data["x"])], {}))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "train", lambda *args: classifier.train(*args, steps=100, batch=64))


def whole(folder: Path) -> tuple[dict[str, Any], str]:
    numbers, html = json.loads((folder / "report.json").read_text()), (folder / "report.html").read_text()
    assert "http" not in html and "<script" not in html and "url(/" not in html
    assert all(source.startswith(("data:", "#")) for source in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert "nan" not in re.sub(r'base64,[^"]*', "", html).lower().split() and "None" not in html.split("<h2>The recipe")[0]
    return numbers, html


def test_report_of_labelled_pictures(tmp_path: Path) -> None:
    log(tmp_path)
    found = report(tmp_path, digits(conditional=True), samples=200)  # type: ignore[arg-type]
    numbers, html = whole(tmp_path)
    assert numbers.keys() >= KEYS | LABELLED and numbers.keys() == found.keys()
    assert numbers["accuracy"] > 0.8 and numbers["accuracy_real"] > 0.8
    assert numbers["recall"] > 0.5 and numbers["nearest"]["copies"] < 0.1
    assert numbers["train_seconds"] == 25 and numbers["train_steps"] == 30 and numbers["nfe"] == numbers["steps"] == 10
    assert numbers["loss_by_band"] == {"0.0-0.5": 0.3, "0.5-1.0": 0.2}
    for heading in ("Samples", "From noise to pictures", "forward process", "Learning", "Asked and recognised", "Does it copy?"):
        assert heading in html
    written = (tmp_path / "classifier.safetensors").stat().st_mtime_ns
    again = report(tmp_path, digits(conditional=True), samples=200)  # type: ignore[arg-type]
    assert (tmp_path / "classifier.safetensors").stat().st_mtime_ns == written
    assert again["frechet"] == found["frechet"] and again["accuracy"] == found["accuracy"]


def test_report_catches_copies_and_asks_no_class_of_a_model_that_takes_none(tmp_path: Path) -> None:
    report(tmp_path, digits(conditional=False), samples=64, steps=16)  # type: ignore[arg-type]
    numbers, html = whole(tmp_path)
    assert numbers["nearest"]["copies"] > 0.9 and numbers["nearest"]["ratio"] < 0.2
    assert "accuracy" not in numbers and "Does it draw" not in html and "Learning" not in html


@pytest.mark.parametrize("name", ["two_moons", "checkerboard"])
def test_report_of_points(tmp_path: Path, name: str) -> None:
    domain, schedule = Points(name, n=600), Cosine()
    x = domain.dataset("train").batch(torch.arange(600))["x"]
    model = Oracle("points", domain, ByClass(schedule, [Empirical(schedule, x)] * 2, domain.conds))
    report(tmp_path, model, samples=150)  # type: ignore[arg-type]
    numbers, html = whole(tmp_path)
    assert numbers.keys() >= KEYS and numbers["features"] == "values" and not (tmp_path / "classifier.safetensors").exists()
    assert html.count('class="cloud"') == 2 + 8 + 2 * 8 and "<img" not in html


def test_report_refuses_too_few(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a report needs"):
        report(tmp_path, digits(conditional=False), samples=3)  # type: ignore[arg-type]
