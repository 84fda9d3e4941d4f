"""`unnoise selfcheck`: it passes on the library as it is, and catches known faults that are planted in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant, caught, look

from unnoise import sampler as room
from unnoise.cli import run
from unnoise.sampler import DDIM, Ancestral, DPMpp2M, Heun, Sampler
from unnoise.task import selfcheck as task
from unnoise.task.selfcheck import CHECKS, laws, members, selfcheck, walks
from unnoise.task.selfcheck.cells import Cell
from unnoise.task.selfcheck.targets import normal

FAST = ("schedules", "closed forms", "exact chains", "times", "prior and noise", "walks")


@pytest.mark.parametrize("check", ["schedules", "times", "closed forms", "prior and noise", "exact chains"])
def test_the_laws_hold(check: str) -> None:
    report = selfcheck(quick=True, only=check)
    assert not report.faults, "\n".join(map(str, report.faults))
    assert len(report.cells) > sum(report.refused.values()) > -1


@pytest.mark.parametrize("check", ["convergence", "walks", "randomness"])
def test_samplers_hold(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    look(monkeypatch, (DDIM(), DPMpp2M(), Heun(), Ancestral()))
    report = selfcheck(quick=True, only=check)
    assert not report.faults, "\n".join(map(str, report.faults))


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.check in FAST or m.samplers][::3], ids=lambda m: m.name)
def test_a_planted_fault_is_caught(mutant: Mutant) -> None:
    assert caught(mutant).faults


def names_of(kind: type) -> set[str]:
    return {member.__name__ for member in members.concrete(room, kind)}


def test_every_member_is_covered_by_being_there() -> None:
    names = {type(sampler).__name__ for sampler in members.samplers()}
    measured = {name for name in names_of(Sampler) if {"measured", "picture"} & set(members._names(getattr(room, name)))}
    assert names == names_of(Sampler) - measured and "DPS" in measured  # those have laws of their own
    assert len(members.samplers()) > 2 * len(names)
    assert len(members.schedules()) == len({members.label(schedule) for schedule in members.schedules()})


def test_spread_is_found_without_chance() -> None:
    """What the impulses say is what many draws say."""
    for sampler in (DDIM(eta=1.0), DPMpp2M(eta=1.0)):
        assert walks._chance_error(sampler, normal(members.FEW[0]), members.DEFAULT(members.FEW[0], 6)) < walks.CHANCE


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    chosen = {"exact chains": CHECKS["exact chains"]}
    monkeypatch.setattr(task, "CHECKS", chosen)
    monkeypatch.setattr(sys, "argv", ["unnoise", "selfcheck", "--quick", "--json", str(tmp_path / "report.json")])
    with pytest.raises(SystemExit) as left:
        run()
    assert not left.value.code and "all hold" in capsys.readouterr().out
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["holds"] and facts["cells"] > 50 and not facts["faults"]
    chosen["exact chains"] = lambda quick: iter([Cell("order", "DDIM", "VP", 0.5, 1.0, at_least=True)])
    with pytest.raises(SystemExit) as left:
        run()
    assert left.value.code == 1 and "FAULT DDIM on VP: order is 0.5, at least 1 is expected" in capsys.readouterr().out


def test_refusals_are_no_faults_and_errors_are() -> None:
    def refuse() -> float:
        raise ValueError("divides by alpha")

    def crash() -> float:
        raise ZeroDivisionError

    assert walks.attempt("x", "y", "z", refuse, 0.0).refused == "divides by alpha"
    assert not laws.attempt("x", "y", "z", crash, 0.0).holds
