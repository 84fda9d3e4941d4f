"""The report of a run, on exact denoisers: every number is there, and the page needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.evaluating import alone, quick
from unnoise.condition import Condition
from unnoise.denoiser import Answer, Empirical, Gaussian
from unnoise.domain import Digits, Domain, Points
from unnoise.model import Model
from unnoise.recipe import Recipe
from unnoise.sampler import DPMpp2M
from unnoise.schedule import Cosine
from unnoise.task.evaluate import Wish, measure_model
from unnoise.task.report import More, report
from unnoise.times import LogSNR

KEYS = {
    "precision", "recall", "density", "coverage", "precision_real", "recall_interval", "frechet", "frechet_real", "verdict",
    "loss_by_band", "train_seconds", "cpu_seconds", "train_steps", "nfe", "steps", "samples", "parameters",
    "seconds", "recipe", "versions", "hardware", "evaluation",
}  # fmt: skip
LABELLED = {"accuracy", "accuracy_interval", "accuracy_real", "accuracy_by_class", "nearest", "copies"}
HEADINGS = ["Samples", "From noise to pictures", "The forward process", "Learning", "Quality, coverage, speed", "The numbers",
            "What more evaluations buy", "Does it draw what it is asked for?", "Does it copy?", "How probable are new data?",
            "What was compared with what"]  # fmt: skip


class ByClass:
    """The exact denoiser of each class."""

    evaluations, network = 1, None

    def __init__(self, schedule: Any, members: Sequence[Any], conds: dict[str, Condition]) -> None:
        self.schedule, self.members, self.conds = schedule, members, conds

    def parameters(self) -> list[Tensor]:
        return []

    def eval(self) -> None:
        pass

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


def oracle(recipe: str, domain: Domain, denoiser: Any) -> Model:
    """A model whose denoiser is exact."""
    model = Model(Recipe.read(recipe))
    model.domain, model.denoiser, model.guidance = domain, denoiser, []
    model.sampler, model.times, model.defaults = DPMpp2M(), LogSNR(), replace(model.defaults, steps=10)
    return model


def log(folder: Path) -> None:
    bands = {"0.0-0.5": 0.3, "0.5-1.0": 0.2}
    rows: list[dict[str, Any]] = [{"step": k, "loss": 1 / k, "time": {"seconds": k, "images_per_s": 64.0}} for k in (10, 20)]
    rows.append({"step": 20, "held_out": bands, "trained_on": bands, "time": {"seconds": 21}})
    rows.append({"step": 30, "held_out": bands, "trained_on": bands, "time": {"seconds": 4}})  # a resumed run's clock
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 31, "lo')


def digits(conditional: bool) -> Model:
    domain, schedule = Digits(), Cosine()
    rows = domain.dataset("train")
    data = rows.batch(torch.arange(len(rows)))
    sets = [data["x"][data["label"] == c].flatten(1) for c in range(10)]
    if conditional:  # Gaussians of the classes: recognisable, and no copies
        members: list[Any] = [Gaussian(schedule, x.mean(0), x.T.cov() + 1e-4 * torch.eye(64)) for x in sets]
        return oracle("digits", domain, ByClass(schedule, members, domain.conds))
    return oracle("digits", domain, ByClass(schedule, [Empirical(schedule, data["x"])], {}))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick(tmp_path_factory.mktemp("cache"), steps=100):
        yield


def whole(folder: Path) -> tuple[dict[str, Any], str]:
    numbers, html = json.loads((folder / "report.json").read_text()), alone((folder / "report.html").read_text())
    assert "None" not in html.split("<h2>The recipe")[0]
    return numbers, html


def test_report_of_labelled_pictures(tmp_path: Path) -> None:
    log(tmp_path)
    model = digits(conditional=True)
    found = report(tmp_path, model, samples=200, more=More([4], ["", "DDIM"], 4))
    numbers, html = whole(tmp_path)
    assert numbers.keys() >= KEYS | LABELLED and numbers.keys() == found.keys()
    assert numbers["accuracy"] > 0.8 and numbers["accuracy_real"] > 0.8
    assert numbers["recall"] > 0.5 and numbers["copies"] < 0.1
    assert numbers["train_seconds"] == 25 and numbers["train_steps"] == 30 and numbers["nfe"] == numbers["steps"] == 10
    assert numbers["loss_by_band"] == {"0.0-0.5": 0.3, "0.5-1.0": 0.2} and numbers["bound_bits_per_dim"] > 0
    for heading in HEADINGS:
        assert f"<h2>{heading}</h2>" in html
    assert html.count("<figure>") == 8 + 8 + 8 and numbers["verdict"][0][1:] in html

    wish = Wish(200, features="classifier")  # the same as by `unnoise evaluate`
    again = measure_model(model, wish, tmp_path.name)
    for name, number in again.numbers.items():
        assert name in ("seconds", "joules") or (numbers[name], numbers["evaluation"][name]["protocol"]) == (
            number.value,
            number.protocol,
        )


def test_report_catches_copies_and_asks_no_class_of_a_model_that_takes_none(tmp_path: Path) -> None:
    report(tmp_path, digits(conditional=False), samples=64, steps=16)
    numbers, html = whole(tmp_path)
    assert numbers["copies"] > 0.9 and numbers["nearest"] < 0.2 and numbers["verdict"][0].startswith("copies: ")
    assert "accuracy" not in numbers and "Does it draw" not in html and "Learning" not in html and numbers["steps"] == 16


@pytest.mark.parametrize("name", ["two_moons", "checkerboard"])
def test_report_of_points(tmp_path: Path, name: str) -> None:
    domain, schedule = Points(name, n=600), Cosine()
    x = domain.dataset("train").batch(torch.arange(600))["x"]
    model = oracle("points", domain, ByClass(schedule, [Empirical(schedule, x)] * 2, domain.conds))
    report(tmp_path, model, samples=150)
    numbers, html = whole(tmp_path)
    assert numbers.keys() >= KEYS and numbers["evaluation"]["about"]["features"]["name"] == "raw"
    assert html.count('class="cloud"') == 2 + 8 + 2 * 8 and "<img" not in html


def test_report_refuses_too_few(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a report needs"):
        report(tmp_path, digits(conditional=False), samples=3)
