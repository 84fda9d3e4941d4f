"""Runs side by side: the words of a comparison, its page, and the front that a sweep keeps."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.evaluating import alone, quick
from tests.test_model import stirred
from unnoise.cli import run as entry
from unnoise.metric import Estimate
from unnoise.model import load
from unnoise.sampler import DDIM, FlowAdams, Heun
from unnoise.task.evaluate import Evaluation, Number, Wish, compare
from unnoise.task.report import report
from unnoise.task.sweep import FILE, Point, Setting, choice, front, grid, read, steps, sweep, worse
from unnoise.task.train import read as read_recipe
from unnoise.task.train import train
from unnoise.task.trilemma import Asked, trilemma
from unnoise.task.trilemma.words import findings, headline, trade

HEADINGS = ["Quality, coverage, speed", "Samples, none picked", "The numbers", "What more evaluations buy", "Do they copy?",
            "Class by class", "How probable are new data?", "What was compared with what"]  # fmt: skip
QUICK = ["network.Decoder.width=8", "train.Trainer.steps=2", "train.Trainer.batch=8", "train.Trainer.tensorboard=false"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick(tmp_path_factory.mktemp("cache")):
        yield


def judged(name: str, frechet: float, recall: float, seconds: float, air: float = 0.1) -> Evaluation:
    ends = {"frechet": frechet, "recall": recall, "seconds": seconds}
    real = {"frechet": Estimate(0.5, 0.4, 0.6), "recall": Estimate(0.95, 0.9, 1.0)}
    numbers = {key: Number(v, v * (1 - air), v * (1 + air), real.get(key), "as all") for key, v in ends.items()}
    return Evaluation(name, numbers, ["no fault found"], {"protocol": "as all", "samples": 9})


def said(*evaluations: Evaluation) -> str:
    return headline(findings(compare(evaluations)), [one.name for one in evaluations])


def test_the_headline_says_who_leads_in_what() -> None:
    good, quick, alike = judged("good", 1, 0.9, 2.0), judged("quick", 3, 0.4, 0.01), judged("alike", 1.05, 0.88, 2.1)
    assert said(good, quick) == "good is closest to the data and covers most of the data's variety; quick is fastest"
    assert said(good, judged("poor", 3, 0.4, 9.0)).startswith("good is better in every way: it is closest to the data, ")
    assert said(good, alike) == "No difference is seen between good and alike"
    assert said(good, alike, quick).startswith("good and alike are closest to the data")
    assert said(good, judged("same", 1, 0.9, 0.01)).startswith("all are equally close to the data")
    once = replace(alike, numbers=alike.numbers | {"seconds": Number(1.6, math.nan, math.nan, None, "as all")})
    assert said(good, once) == "No difference is seen between good and alike", "a time measured once proves little"
    low = judged("wild", 9, 0.99, 9.0)
    unlike = Number(0.3, 0.28, 0.33, Estimate(0.9, 0.88, 0.92), "as all")
    wild = replace(low, numbers=low.numbers | {"precision": unlike})
    assert "wild" not in said(good, wild, quick) and "unlike the data" in findings(compare([good, wild, quick]))[1].told
    sentence = trade(findings(compare([good, quick])), compare([good, quick]))
    assert sentence == "good takes 200 times as long for a sample as quick; its Fréchet distance is 3.00 times smaller."
    assert trade(findings(compare([good, alike])), compare([good, alike])) == ""
    told = findings(compare([good, alike]))[0].told
    assert told.startswith("good 1.00 (0.900 to 1.10), alike 1.05") and "cannot be told apart" in told and "0.500" in told


def point(nfe: int, frechet: float, recall: float = 0.9, air: float = 0.05, name: str = "DDIM") -> Point:
    numbers = {"frechet": Estimate(frechet, frechet - air, frechet + air), "recall": Estimate(recall, recall - air, recall + air)}
    return Point(Setting(name, nfe), name, nfe, 0.1 * nfe, numbers)


def test_nothing_on_the_front_is_beaten_at_its_cost() -> None:
    torch.manual_seed(0)
    points = [point(int(nfe), float(value)) for nfe, value in zip(torch.randint(1, 30, (60,)), torch.rand(60), strict=True)]
    best = front(points)
    for one in points:
        beaten = any(other.nfe <= one.nfe and other.frechet.value < one.frechet.value for other in points)
        twin = any(o.nfe == one.nfe and o.frechet.value == one.frechet.value for o in best)
        assert beaten != (one in best or twin)
    assert [one.nfe for one in best] == sorted({one.nfe for one in best})


def test_the_choice_is_the_cheapest_that_is_not_surely_worse_in_anything() -> None:
    best = [point(2, 3.0), point(4, 1.08, recall=0.5), point(8, 1.06), point(16, 1.0)]
    beaten = [worse(one.numbers, best[3].numbers) for one in best[:3]]
    assert choice(best) is best[2] and beaten == [True, True, False]
    assert choice(best[:1]) is best[0]


def test_budgets_are_kept_whatever_a_step_costs() -> None:
    assert [steps(Heun(), n) for n in (1, 2, 5, 20)] == [1, 1, 3, 10] and steps(DDIM(), 7) == 7
    model = stirred("digits")
    settings = list(grid(model, [1, 2, 5], ["", "Heun"], [None, 2.0]))
    assert len(settings) == 2 * 3 + 2 * 2, "two budgets of one walk are one setting"
    for setting in settings:
        view = setting.of(model)
        assert (view.sampler.evaluations(setting.steps) or 99) <= 5 and view.denoiser is model.denoiser
        assert isinstance(view.sampler, Heun if setting.sampler else type(model.sampler))
        assert ("CFG" in view.recipe.members("guidance")) == (setting.scale is not None)
    with pytest.raises(ValueError, match="as many evaluations as it likes"):
        list(grid(model, [5], ["Adaptive"], [None]))


def test_a_sweep_changes_how_a_run_is_sampled_and_the_page_shows_it(tmp_path: Path) -> None:
    run, other = tmp_path / "walks", tmp_path / "once"
    fresh = stirred("digits")
    fresh.save(run)
    default = fresh.defaults.steps
    lines: list[str] = []
    found = sweep(run, [2, 4], ["", "DDIM"], [None], Wish(n=24), lines.append)
    assert len(found.points) == 4 == len(read(run)) and len(lines) > 4
    assert read(run)[0] == found.points[0] and found.chosen in found.front
    model, html = load(run), (run / "sweep.html").read_text("utf-8")
    alone(html)
    assert html.count("→ ") == 1 and html.count('class="front"') == len(found.front)
    if found.stored:
        assert model.defaults.steps == found.chosen.setting.steps
        assert isinstance(model.sampler, DDIM if found.chosen.setting.sampler else FlowAdams)
    assert found.before.setting == Setting("", default) and found.stored == (not worse(found.after.numbers, found.before.numbers))

    train(read_recipe("gan-digits", None, QUICK), other, device="cpu", report=False, say=lambda line: None)
    out = tmp_path / "page" / "compare.html"
    comparison = trilemma([run, other], Asked(Wish(n=24), budgets=[2], samplers=["", "Heun"], swept=16, likelihoods=3), out)
    html, told = out.read_text("utf-8"), json.loads(out.with_suffix(".json").read_text("utf-8"))
    alone(html)
    for heading in HEADINGS:
        assert f"<h2>{heading}</h2>" in html
    assert html.count("<img") == 2 * 20 + 2 * 6 * 2 and "it answers at t = 1 alone" in html
    assert told["verdict"] in html.replace("&#39;", "'") and told["evaluations"].keys() == {"walks", "once"}
    assert told["sweeps"]["walks"] == json.loads((run / FILE).read_text("utf-8"))["points"], "what a sweep measured is shown"
    assert len(told["bits"]["walks"]) == 3 and len(told["sweeps"]["once"]) == 1
    assert [one.name for one in comparison.evaluations] == ["walks", "once"]

    report(other, samples=16)
    alone((other / "report.html").read_text("utf-8"))

    kept = tmp_path / "walks.json"  # from files alone: all numbers, no pictures
    comparison.evaluations[0].write(kept)
    comparison.evaluations[1].write(tmp_path / "once.json")
    trilemma([kept, tmp_path / "once.json"], Asked(Wish(n=24)), tmp_path / "files.html")
    html = (tmp_path / "files.html").read_text("utf-8")
    assert "<img" not in html and "Quality, coverage, speed" in html and "Samples, none picked" not in html


@pytest.mark.parametrize(
    "arguments",
    [
        ["sweep", "RUN", "--nfe", "5..2"],
        ["sweep", "RUN", "--nfe", "0"],
        ["sweep", "RUN", "--nfe", "2", "--sampler", "DDMI"],
        ["sweep", "RUN", "--nfe", "2", "--scale", "two"],
        ["compare", "RUN", "--out", "page.html", "--nfe", "x"],
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stirred("digits").save(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["unnoise", *("run" if part == "RUN" else part for part in arguments)])
    with pytest.raises(SystemExit) as left:
        entry()
    assert left.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("unnoise: ") and len(line) > 20
