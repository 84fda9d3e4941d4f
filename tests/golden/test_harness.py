"""The harness: what counts as equal, and what a case comes to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from . import table
from .harness import Case, Excuse, Verdict, along, cases, compare, difference, items, within

LIMITS = {"rtol": 1e-6, "atol": 1e-9, "ode": {"rtol": 1e-2, "atol": 0.0}}
INF = float("inf")


def off(value: list[float], expected: list[float], named: str = "", whole: bool = False) -> bool:
    given = torch.tensor(value, dtype=torch.float64)
    result = within(given, named) if named else along(given) if whole else given
    return bool(difference(result, torch.tensor(expected, dtype=torch.float64), LIMITS)[1])


def test_what_is_equal() -> None:
    assert not off([1.0000001, 0.0], [1.0, 1e-10])
    assert off([1.00001], [1.0]) and off([1e-4], [0.0]) and off([1.0], [1.0, 1.0])
    assert off([100.0, 1.0], [100.0, 1.00005]) and not off([100.0, 1.0], [100.0, 1.00005], whole=True)
    assert off([1.005], [1.0]) and not off([1.005], [1.0], named="ode")
    assert not off([INF, -INF, 1.0], [INF, -INF, 1.0])
    assert off([INF], [1.0]) and off([1.0], [INF]) and off([-INF], [INF]) and off([float("nan")], [1.0])


@pytest.fixture
def one(tmp_path: Path) -> Case:
    about = {
        "hyper_parameters": {},
        "tolerance": {"float64": LIMITS},
        "cases": [{"id": "one", "params": {"kind": "a"}, "inputs": {"x": "x"},
                   "outputs": {"y.f64": "y", "y.f32": "z", "w": "w"}}],
    }  # fmt: skip
    (tmp_path / "thing.json").write_text(json.dumps(about))
    x = torch.ones(2, dtype=torch.float64)
    save_file({"x": x, "y": 2 * x, "z": (3 * x).float(), "w": 4 * x}, tmp_path / "thing.safetensors")
    assert items(tmp_path) == ["thing"]
    return cases(tmp_path, "thing")[0]


def build(case: Case) -> dict[str, Tensor]:
    return {"y": 2 * case.inputs["x"], "w": 5 * case.inputs["x"]}


def test_a_case_fails_for_one_wrong_or_missing_output(one: Case) -> None:
    verdict = compare(one, build, [])
    assert verdict.status == "failed" and len(verdict.faults) == 1 and verdict.error == pytest.approx(0.25)
    assert compare(one, lambda case: {"y": 2 * case.inputs["x"]}, []).faults == ("w: not built",)
    assert compare(one, lambda case: {**build(case), "w": 4 * case.inputs["x"]}, []).status == "passed"


def test_an_excuse_covers_its_roles_where_its_predicate_holds(one: Case) -> None:
    def verdict(roles: str, kind: str, later: bool = False) -> Verdict:
        return compare(one, build, [Excuse("thing", lambda params: params["kind"] == kind, "because", roles, later)])

    assert verdict("w", "a").status == "excepted" and verdict("w", "a").reasons == ("because",)
    assert verdict("w", "a", later=True).status == "later"
    assert verdict("w", "b").status == verdict("y", "a").status == "failed"


def test_later_cases_are_not_among_those_counted() -> None:
    verdicts = [Verdict("a", status, (), 0.0, "", ()) for status in ("passed", "passed", "excepted", "later")]
    assert table.count(verdicts) == "cases 3 passed 2 excepted 1"
    assert table.count([*verdicts, verdicts[0]._replace(status="failed")]) == "cases 4 passed 2 excepted 1 failed 1"
