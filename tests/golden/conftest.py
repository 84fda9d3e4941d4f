"""`pytest tests/golden --goldens DIR` checks against the references in DIR; without it, against those next to the repository.

The last line of a run counts the cases; `--goldens-table FILE` writes what was found as a table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import harness, table

ABSENT = "not in this folder"
VERDICTS = pytest.StashKey[list[harness.Verdict]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--goldens", metavar="DIR", help="folder of golden references")
    parser.addoption("--goldens-table", metavar="FILE", help="write the table of parity here")


def folder(config: pytest.Config) -> Path | None:
    """The folder of references; None if none was named and the usual one is not there."""
    given = config.getoption("--goldens", default=None)
    path = Path(given or harness.DEFAULT).resolve()
    if path.is_dir() and harness.items(path):
        return path
    if given:
        raise pytest.UsageError(f"--goldens {given}: no folder with golden references")
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    at = folder(metafunc.config)
    if at is None:
        skip = pytest.mark.skip(reason=f"no golden references at {harness.DEFAULT}; name a folder with --goldens")
        metafunc.parametrize("case", [pytest.param(None, marks=skip)])
        return
    here = [item for item in harness.items(at) if item in metafunc.module.ITEMS]
    cases = [pytest.param(case, id=case.id) for item in here for case in harness.cases(at, item)]
    metafunc.parametrize("case", cases or [pytest.param(None, id=ABSENT)])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A folder without any item of a module: nothing to do there, and nothing skipped."""
    absent = [item for item in items if item.name.endswith(f"[{ABSENT}]")]
    items[:] = [item for item in items if item not in absent]
    config.hook.pytest_deselected(items=absent)


@pytest.fixture
def goldens(pytestconfig: pytest.Config) -> Path:
    at = folder(pytestconfig)
    if at is None:
        pytest.skip(f"no golden references at {harness.DEFAULT}; name a folder with --goldens")
    return at


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compares a case and keeps the verdict for the end of the run."""

    def run(case: harness.Case, items: dict[str, harness.Builder], excuses: list[harness.Excuse]) -> None:
        verdict = harness.Verdict(case.item, "failed", (), float("nan"), "", ())
        try:
            verdict = harness.compare(case, items[case.item], excuses)
        finally:
            request.node.user_properties.append(("golden", json.dumps(verdict)))
        if verdict.faults:
            pytest.fail("; ".join(verdict.faults), pytrace=False)

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    found = [value for report in reports for name, value in report.user_properties if name == "golden"]
    config.stash[VERDICTS] = verdicts = [harness.Verdict(*json.loads(value)) for value in found]
    at = folder(config) if verdicts else None
    if at is None:
        return
    cases = {item: len(harness.cases(at, item)) for item in harness.items(at)}
    for line in table.reasons(verdicts, cases):
        terminalreporter.write_line(line)
    if path := config.getoption("--goldens-table", default=None):
        Path(path).write_text(table.page(verdicts, cases))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if verdicts := config.stash.get(VERDICTS, []):
        print(table.count(verdicts))
