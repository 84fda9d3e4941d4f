"""Certificates: fixed questions, errors as they are, no verdict without a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from unnoise.certificate import Certificate, Comparison, answers, compare, questions
from unnoise.condition import Condition

CONDS = {
    "label": Condition(classes=tuple("abcdefghijkl")),
    "age": Condition(mean=40.0, std=10.0),
    "low": Condition(route="concat", shape=(1, 4, 4)),
}


def test_questions_are_fixed_and_ask_for_every_condition_and_its_null() -> None:
    asked, again = questions((1, 4, 4), CONDS), questions((1, 4, 4), CONDS)
    assert torch.equal(asked.x, again.x) and all(
        torch.equal(again.cond[name], value) for name, value in asked.cond.items() if name != "age"
    )
    assert len(asked.x) == len(asked.level) == 9  # 8 of 12 classes and the null
    assert asked.cond["label"].tolist() == [0, 1, 3, 4, 6, 7, 9, 11, 12]
    assert asked.cond["age"].isnan().sum() == 3 and asked.cond["age"].nanmean() > 10
    assert asked.cond["low"].shape == (9, 1, 4, 4) and not asked.cond["low"].isnan().any()
    without = questions((1, 4, 4), CONDS, null=False)
    assert 12 not in without.cond["label"] and not without.cond["age"].isnan().any()
    json.dumps(asked.facts())


def test_answers_do_not_depend_on_the_slices() -> None:
    asked = questions((2, 4), {})
    said = [answers(lambda x, level, cond: x * level[:, None, None], asked, batch) for batch in (1, 2, 5)]
    assert all(torch.equal(one, said[0]) for one in said) and said[0].dtype == torch.float64


def test_errors_are_told_as_they_are() -> None:
    a = torch.tensor([1.0, -4.0])
    one = compare("outputs", a + torch.tensor([0.0, 0.5]), a, 0.1)
    assert one == Comparison("outputs", 0.5, 0.125, 0.1, False)
    assert compare("outputs", a + 0.3, a, 0.1).passed  # 0.1 of the largest value, 4
    assert not compare("outputs", a * torch.nan, a, 0.1).passed
    assert not compare("outputs", a, a * torch.nan, 0.1).passed
    assert not compare("outputs", a, a[:1], 0.1).passed
    assert compare("weights", a, a, 0.0).passed and not compare("weights", a, a + 1e-7, 0.0).passed


def test_a_certificate_is_written_and_a_failed_one_raises(tmp_path: Path) -> None:
    good = compare("outputs", torch.ones(2), torch.ones(2), 1e-5)
    certificate = Certificate({"ours": {"digest": "1"}, "theirs": {"version": "2"}}, {"seed": 0}, (good,), date="2026-01-01")
    certificate.demand().write(tmp_path)
    told = json.loads((tmp_path / "certificate.json").read_text())
    assert told["verdict"] == "equal" and told["comparisons"][0]["tolerance"] == 1e-5 and told["date"] == "2026-01-01"
    assert certificate.line() == "equal: ours | theirs; largest error of outputs: 0 (allowed 1e-05)"
    bad = Certificate(certificate.sides, {}, (good, compare("pictures", torch.ones(2), torch.zeros(2), 1e-4)))
    with pytest.raises(ValueError, match=r"ours and theirs do not agree: pictures differ by 1 .*nothing was written"):
        bad.demand()
    with pytest.raises(ValueError, match="were not compared"):
        Certificate(certificate.sides, {}, ()).demand()
