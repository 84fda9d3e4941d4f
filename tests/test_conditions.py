"""Conditions of every kind, from a table beside the pictures to what the network is told and a person asks for."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.cli.app import conditions as asked
from unnoise.condition import Condition, drop, held, rows
from unnoise.domain import Images, scan
from unnoise.model import load
from unnoise.nn.embed import Values
from unnoise.recipe import Recipe
from unnoise.task.sample import Order, reproduce, sample
from unnoise.task.train import train
from unnoise.tensor import Rng

WORDS = ("C++", "a", "red", "round")
TAGS = Condition(shape=(4,), words=WORDS)
SMALL = [
    "domain.Images.size=8", "network.UNet.width=8", "network.UNet.multipliers=[1]", "network.UNet.attention=[]",
    "train.Trainer.steps=3", "train.Trainer.batch=8", "train.Trainer.preview_every=0", "train.Trainer.health_every=0",
    "train.Trainer.validate_every=0", "train.Trainer.tensorboard=false", "model.Defaults.batch=4", "model.Defaults.steps=2",
]  # fmt: skip


def told(i: int) -> dict:
    """What is known of picture i; of every eighth nothing, of the fourth after it that none of the words holds."""
    words = [] if i % 8 == 4 else sorted({"red"} | ({"round"} if i % 3 == 0 else set()))
    return {} if i % 8 == 0 else {"label": "cat" if i % 2 else "dog", "weight": 100 + 3 * i, "tags": words}


@pytest.fixture(params=["csv", "jsonl"])
def pictures(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 random pictures and a table of three conditions."""
    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path / "cache"))
    folder, random = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for i in range(40):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{i:02}.png")
    table = [{"file_name": f"{i:02}.png", **told(i)} for i in range(40)]
    if request.param == "jsonl":
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, table)))
        return folder
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file_name", "label", "weight", "tags"])
        writer.writeheader()
        writer.writerows({**row, "tags": ("|".join(row["tags"]) or "|") if "tags" in row else ""} for row in table)
    return folder


def test_a_table_gives_classes_numbers_and_words(pictures: Path) -> None:
    """Missing is the null, in the table, in the batch and in what sampling draws; no word at all is something else."""
    images = Images(str(pictures), drop={"label": 0.3, "tags": 0.0})
    conds = images.conds
    assert conds["label"].classes == ("cat", "dog") and conds["tags"].words == ("red", "round")
    data, names = images.dataset(), images.names()
    batch = data.batch(torch.arange(len(data)))
    for i, name in enumerate(names):
        truth = told(int(Path(name).stem))
        assert int(batch["label"][i]) == {"cat": 0, "dog": 1, None: 2}[truth.get("label")]
        assert (math.isnan(batch["weight"][i]) and "weight" not in truth) or batch["weight"][i] == truth["weight"]
        words = batch["tags"][i]
        assert words.isnan().all() if "tags" not in truth else held(conds["tags"], words) == truth["tags"]
    drawn = images.draw(Rng(range(200)))
    rows = {tuple(row) for row in batch["tags"].nan_to_num(9).tolist()}
    assert {tuple(row) for row in drawn["tags"].nan_to_num(9).tolist()} == rows and len(rows) == 4
    assert json.loads(json.dumps(images.facts())) == images.facts()


def test_numbers_reach_the_network_standardised(pictures: Path) -> None:
    """Mean 0 and deviation 1 over the training pictures; what is missing is flagged, and is not the mean."""
    images = Images(str(pictures), drop=0.25)
    condition, data = images.conds["weight"], images.dataset()
    column = data.batch(torch.arange(len(data)))["weight"]
    embed = Values(condition, 2, linear=True)
    with torch.no_grad():
        embed.out.weight.copy_(torch.eye(2))
        embed.out.bias.zero_()
        seen = embed(column)
        mean = embed(torch.tensor([condition.mean]))
    known = ~column.isnan()
    assert abs(float(seen[known, 0].mean())) < 1e-5 and abs(float(seen[known, 0].std(correction=0)) - 1) < 1e-5
    assert torch.equal(seen[:, 1], known.float()) and (seen[~known] == 0).all() and mean.tolist() == [[0.0, 1.0]]
    assert {one.drop for one in images.conds.values()} == {0.25}


def test_each_condition_is_dropped_at_its_own_rate() -> None:
    conds = {
        "label": Condition(classes=("a", "b"), drop=0.3),
        "weight": Condition(drop=0.05),
        "tags": Condition(shape=(2,), drop=0.0),
    }
    n = 20_000
    told = {"label": torch.zeros(n, dtype=torch.int64), "weight": torch.ones(n), "tags": torch.ones(n, 2)}
    dropped = drop(conds, told, Rng(3, torch.arange(n)))
    gone = {"label": dropped["label"] == 2, "weight": dropped["weight"].isnan(), "tags": dropped["tags"].isnan().any(1)}
    for name, condition in conds.items():
        assert abs(gone[name].double().mean() - condition.drop) <= 4.5 * (condition.drop / n) ** 0.5
    both = (gone["label"] & gone["weight"]).double().mean()
    assert abs(both - 0.3 * 0.05) < 0.005, "one is dropped without regard to the other"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("red+round", [[0, 0, 1, 1]] * 3), ("C+++a", [[1, 1, 0, 0]] * 3), ("", [[0, 0, 0, 0]] * 3), ({"a"}, [[0, 1, 0, 0]] * 3),
     (["red", "", "a+C++"], [[0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]]), ([0.0, 1.0, 0.0, 1.0], [[0, 1, 0, 1]] * 3)],
    ids=str,
)  # fmt: skip
def test_words_as_a_person_writes_them(value: object, expected: list) -> None:
    assert rows("tags", TAGS, value, 3).tolist() == expected
    assert rows("tags", TAGS, [None, "red", "a"], 3).isnan().all(1).tolist() == [True, False, False]


def test_the_command_line_says_each_kind() -> None:
    assert asked(["label=cat", "weight=3.5", "tags=red+round"]) == {"label": "cat", "weight": 3.5, "tags": "red+round"}
    with pytest.raises(ValueError, match=r"tags = rond: no such word; did you mean 'round'"):
        rows("tags", TAGS, "red+rond", 1)


def test_from_a_table_to_a_picture_and_back(pictures: Path, tmp_path: Path) -> None:
    """The run is told all three, samples by names, and a picture's metadata make it again."""
    recipe = Recipe.read("pictures", [f"domain.Images.root={str(pictures)!r}", "domain.Images.drop.label=0.2", *SMALL])
    train(recipe, tmp_path / "run", device="cpu", report=False, say=lambda line: None)
    table = next(pictures.glob("metadata.*"))
    before = table.read_text()
    table.write_text(re.sub(r"\b1(\d\d)\b", r"9\1", before))
    with pytest.raises(ValueError, match=r"conditions\.weight\.mean was .*, is now"):
        train(recipe, tmp_path / "run", device="cpu", report=False, say=lambda line: None)
    table.write_text(before)
    model = load(tmp_path / "run")
    assert model.conds["label"].drop == 0.2 and model.conds["weight"].mean > 100 and model.conds["tags"].words == ("red", "round")
    values = model.conditions({"label": "cat", "weight": 3.5, "round": True}, 2)
    assert values["tags"].tolist() == [[0, 1]] * 2 and values["weight"].tolist() == [3.5] * 2
    paths = sample(tmp_path / "run", Order([7], {"label": "cat", "weight": 150, "tags": "red+round"}), tmp_path / "out")
    _, same = reproduce(paths[0], tmp_path / "run")
    assert "red+round" in json.dumps(Image.open(paths[0]).text) and same


def test_check_says_how_they_are_spread(pictures: Path) -> None:
    report = scan(pictures)
    lines = {line.partition(":")[0]: line for line in report.conditions}
    assert lines["label"] == "label: 2 classes, cat 20, dog 15, missing in 12.5%"
    assert lines["weight"].startswith("weight: number, 103 to 217, median") and lines["weight"].endswith("missing in 12.5%")
    assert lines["tags"].startswith("tags: 2 words, red 30, round ") and "a picture" in lines["tags"]
    rare = json.loads(json.dumps(report.json()))["warnings"]
    rounds = sum(1 for i in range(40) if "round" in told(i).get("tags", []))
    assert any("words of fewer than 10 pictures: round" in line for line in rare) == (rounds < 10)


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"drop": {"labl": 0.1}}, "drop.labl: .* has no such condition"), ({"drop": 1.0}, "drop = 1.0; expected")],
)
def test_rates_that_cannot_be_are_refused(keys: dict, message: str, pictures: Path) -> None:
    with pytest.raises(ValueError, match=message):
        Images(str(pictures), **keys).facts()
