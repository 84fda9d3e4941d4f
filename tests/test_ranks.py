"""Several processes learn what one learns; a run moves between numbers of them; a fault of one ends all, and is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from several import __file__ as program
from several import outcome

from unnoise.train import load
from unnoise.train.ranks import Alone, Several
from unnoise.train.sharded import Sharded

PACKAGES = str(Path(program).parents[1])
STEPS = 12
ONE = {"world": 1, "folder": "one", "double": True, "save_every": 3}
BACK = {**ONE, "world": 2, "fault": "nan in step", "at": 8, "rank": 1, "rollbacks": 2}
JOBS: list[dict[str, Any]] = [
    ONE,
    {**ONE, "world": 2, "folder": "two"},
    {**ONE, "world": 3, "folder": "three"},
    {**ONE, "world": 2, "folder": "parted", "shard": True},
    {**ONE, "world": 2, "folder": "moved", "shard": True, "steps": 4},
    {**ONE, "world": 3, "folder": "moved", "shard": True, "steps": 8},
    {**ONE, "folder": "moved"},
    {**BACK, "world": 1, "folder": "back one", "rank": 0},
    {**BACK, "folder": "back two"},
    {**BACK, "folder": "back parted", "shard": True},
    {**ONE, "parts": 3, "folder": "law one"},
    {**ONE, "parts": 3, "folder": "law two", "world": 2},
    {**ONE, "parts": 3, "folder": "law parted", "world": 3, "shard": True},
    {"world": 1, "folder": "halves", "micro_batch": 4, "dropout": 0.2},
    {"world": 2, "folder": "whole", "dropout": 0.2},
    {"world": 2, "folder": "kill", "fault": "kill in step", "rank": 1},
    {"world": 2, "folder": "raise", "fault": "raise in save", "rank": 0},
    {"world": 2, "folder": "term", "fault": "term in barrier", "rank": 1},
    *({"world": 2, "folder": name, "dropout": 0.0} for name in ("kill", "raise", "term", "straight")),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """All jobs by one program, which imports torch once."""
    folder = tmp_path_factory.mktemp("several")
    jobs = [{"steps": STEPS, **job, "folder": str(folder / job["folder"])} for job in JOBS]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    environment = {**os.environ, "PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, program, str(folder / "jobs.json")]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    return folder, json.loads(ran.stdout)


def tensors(run: Path) -> dict[str, torch.Tensor]:
    found = load(run / "state" / f"step-{STEPS}").tensors
    return {name: tensor for name, tensor in found.items() if name != "sums"}


@pytest.mark.parametrize("name", ["two", "three", "parted", "moved"])
def test_what_is_learnt_does_not_depend_on_the_number_of_processes(done, name):
    ours, theirs = tensors(done[0] / name), tensors(done[0] / "one")
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        torch.testing.assert_close(ours[key], tensor, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["back two", "back parted"])
def test_all_go_back_where_one_meets_nan(done, name):
    row = next(row for row, job in zip(done[1], JOBS, strict=True) if job["folder"] == name)
    ours, theirs = (load(done[0] / run / "state" / f"step-{STEPS}") for run in (name, "back one"))
    assert row["codes"] == [0, 0] and not row["said"]
    assert ours.state["rollbacks"] == theirs.state["rollbacks"] and [one["to"] for one in ours.state["rollbacks"]] == [6]
    for key, tensor in theirs.tensors.items():
        torch.testing.assert_close(ours.tensors[key], tensor, rtol=1e-5 if key == "sums" else 1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["law two", "law parted"])
def test_what_learns_from_losses_learns_from_those_of_all(done, name):
    ours, theirs = tensors(done[0] / name), tensors(done[0] / "law one")
    assert bool((theirs["objective.law.counts"] == 2).all())  # its draws have long been uneven
    for key, tensor in theirs.items():
        torch.testing.assert_close(ours[key], tensor, rtol=1e-9, atol=1e-11)


def test_two_processes_are_two_parts_of_a_batch_to_the_bit(done):
    halves, whole = (outcome(done[0] / name, STEPS) for name in ("halves", "whole"))
    assert halves["state.safetensors"] == whole["state.safetensors"] and halves["log"] == whole["log"]


def test_the_log_is_that_of_one_process(done):
    one, *others = ([json.loads(line) for line in (done[0] / name / "log.jsonl").open()] for name in ("one", "two", "parted"))
    for rows in others:
        assert [row["step"] for row in rows] == [row["step"] for row in one]
        for ours, theirs in zip(rows, one, strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
            assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-5)


def test_snapshots_of_averages_are_whole(done):
    files = [{p.name for p in (done[0] / name / "averages").iterdir()} for name in ("one", "parted")]
    assert files[0] == files[1] and len(files[0]) == STEPS


@pytest.mark.parametrize(("name", "rank", "said"), [("kill", 1, "is gone"), ("raise", 0, "struck by lightning")])
def test_a_fault_ends_all_and_is_named_in_one_line(done, name, rank, said):
    row = next(row for row, job in zip(done[1], JOBS, strict=True) if job["folder"] == name)
    assert None not in row["codes"] and 0 not in row["codes"]
    assert len(row["said"]) == 1 and f"rank {rank} of 2" in row["said"][0] and said in row["said"][0]


def test_a_signal_to_one_stops_all_in_good_order(done):
    row = next(row for row, job in zip(done[1], JOBS, strict=True) if job["folder"] == "term")
    assert row["codes"] == [143, 143] and not row["said"]


@pytest.mark.parametrize("name", ["kill", "raise", "term"])
def test_the_same_command_goes_on_to_the_same_bits(done, name):
    assert outcome(done[0] / name, STEPS) == outcome(done[0] / "straight", STEPS)


def test_rows_are_disjoint_and_complete():
    for world in (1, 2, 3, 7):
        slices = [Several(rank, world, rank, torch.device("cpu")).rows(10) for rank in range(world)]
        assert [row for part in slices for row in range(10)[part]] == list(range(10))
    with pytest.raises(ValueError, match="a batch of 2 over 3 processes"):
        Several(0, 3, 0, torch.device("cpu")).rows(2)


def test_whoever_is_several_answers_what_one_answers():
    public = {name for name in vars(Alone) if not name.startswith("_")}
    assert public <= set(dir(Several)) and public <= set(dir(Sharded))
