"""The harness of the field's claims: what is measured is kept, what was changed is measured anew, and words follow numbers."""

import json
from pathlib import Path

import pytest

from benchmarks.claims import _measure, _page
from benchmarks.claims._claim import Arm, Claim, Said, claims
from benchmarks.claims._verdict import verdict
from unnoise.recipe import Recipe

SMALL = [
    "network.UNet.width=8",
    "network.UNet.heads=1",
    "model.Defaults.steps=2",
    "model.Defaults.batch=8",
    "train.Trainer.batch=4",
]


@pytest.mark.parametrize("name", claims())
def test_a_claim_can_be_measured(name: str) -> None:
    """Its recipes are right, its comparisons are of arms and numbers that it has, and its arms differ."""
    claim = claims()[name]
    assert claim.says.endswith((".", ")")) and "arXiv:" in claim.source and claim.said
    for said in claim.said:
        assert {said.better, said.worse} <= claim.arms.keys() and said.number in claim.numbers
    assert len({arm.setting() for arm in claim.arms.values()}) == len(claim.arms)
    for arm in claim.arms.values():
        walk = Recipe.parse(arm.built(1).dump(), list(arm.walk))
        assert arm.built(1).members("train")["Trainer"]["seed"] == 1
        assert walk.members("train") == arm.built(1).members("train")


def test_arms_of_equal_training_share_their_run() -> None:
    walks = claims()["noise"].arms.values()
    assert len({arm.key(0) for arm in walks}) == 1 < len({arm.setting() for arm in walks})
    assert Arm().key(0) != Arm().key(1)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claim:
    monkeypatch.setattr(_measure, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(_measure, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(_measure, "SAMPLES", 8)
    monkeypatch.setattr(_measure, "ITEMS", 4)
    monkeypatch.setattr(_measure, "DRAWS", 2)
    arms = {"a": Arm(SMALL, updates=2), "b": Arm(SMALL, ["sampler=DDIM"], updates=2)}
    return Claim("A is better.", "Nobody, arXiv:0", arms, [Said("a", "b")], ("frechet", "bound"))


def test_rows_are_measured_once_and_what_was_interrupted_goes_on(small: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    first = _measure.measure("small", small, lambda line: None, seeds=(0,))
    assert [(row["arm"], row["seed"]) for row in first] == [("a", 0), ("b", 0)]
    assert all(row["frechet"] > 0 and row["bound"] > 0 and row["nfe"] == 2 for row in first)
    assert first[0]["frechet"] != first[1]["frechet"] and first[0]["bound"] == first[1]["bound"]  # of one network

    real, calls = _measure.measured, 0

    def breaks(*arguments: object) -> dict[str, object]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_measure, "measured", breaks)
    with pytest.raises(KeyboardInterrupt):
        _measure.measure("small", small, seen.append, seeds=(0, 1))
    monkeypatch.setattr(_measure, "measured", real)
    again = _measure.measure("small", small, seen.append, seeds=(0, 1))
    assert again[:2] == first and [(row["arm"], row["seed"]) for row in again[2:]] == [("a", 1), ("b", 1)]
    assert sum("seed 0" in line for line in seen) == 0  # none of the first seed's was measured anew


def test_a_changed_arm_loses_its_rows(small: Claim) -> None:
    _measure.write(
        "small", [{"arm": "a", "seed": 0, "setting": small.arms["a"].setting()}, {"arm": "b", "seed": 0, "setting": "old"}]
    )
    assert [row["arm"] for row in _measure.kept("small", small)] == ["a"]


def rows(better: list[float], worse: list[float], number: str) -> list[dict[str, object]]:
    return [{"arm": arm, "seed": k, number: v} for arm, values in (("a", better), ("b", worse)) for k, v in enumerate(values)]


@pytest.mark.parametrize(
    "number, better, worse, word, told",
    [
        ("frechet", [1.0, 2.0, 4.0], [2.0, 4.0, 8.0], "holds", "x 0.50 (0.50 to 0.50)"),
        ("frechet", [2.0, 4.0, 8.0], [1.0, 2.0, 4.0], "the opposite holds", "x 2.00 (2.00 to 2.00)"),
        ("bound", [4.0, 5.0, 6.0], [4.5, 5.5, 6.5], "holds", "-0.500 (-0.500 to -0.500)"),
        ("recall", [0.5, 0.6, 0.7], [0.6, 0.7, 0.8], "the opposite holds", "-0.100 (-0.100 to -0.100)"),
        ("recall", [0.5, 0.6, 0.7], [0.4, 0.7, 0.6], "undecided", "+0.033 (-0.254 to +0.320)"),
        ("recall", [0.5], [0.4], "not measured yet", ""),
    ],
)
def test_what_is_said_of_the_numbers(number: str, better: list[float], worse: list[float], word: str, told: str) -> None:
    found = verdict(Said("a", "b", number), rows(better, worse, number))
    assert (found.word, found.told()) == (word, told)


def test_the_page_is_what_the_rows_make_of_it() -> None:
    assert _page.PAGE.read_text("utf-8") == _page.page(), "python -m benchmarks claims --page"


def test_every_kept_row_is_of_a_claim() -> None:
    for path in _measure.RESULTS.glob("*.jsonl"):
        assert path.stem in claims()
        assert all(json.loads(line)["arm"] for line in path.read_text("utf-8").splitlines())
