"""A power cut at any moment loses no checkpoint that was finished, and nothing half-written is taken for whole."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from points import Points
from power import Recorder, cut, recorded
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from unnoise.tensor import Rng
from unnoise.train import State, Trainer, checkpoint, latest, read_weights, write_weights
from unnoise.train.log import Log

Lay = Callable[..., None]


class Published:
    """The averaged weights, as runs publish them; and the mark that they are out."""

    every = 3

    def __init__(self, disk: Recorder) -> None:
        self.disk = disk

    def __call__(self, state: State) -> None:
        write_weights(state.folder / "weights.safetensors", dict(state.averaged.state_dict()))
        self.disk.mark(("weights", state.step))


def objective(model: nn.Module, batch: dict[str, Tensor], rng: Rng) -> Tensor:
    return (model(batch["x"]) - batch["x"]).square().mean(1)


def trained(root: Path, monkeypatch: pytest.MonkeyPatch, keep: int) -> Recorder:
    """A run recorded; each checkpoint is marked when `save` has returned."""
    with recorded(root) as disk, monkeypatch.context() as patch:
        save = checkpoint.save

        def saved(folder: Path, step: int, *rest: Any) -> Path:
            path = save(folder, step, *rest)
            disk.mark(("step", step))
            return path

        patch.setattr(checkpoint, "save", saved)
        torch.manual_seed(0)
        trainer = Trainer(14, 8, save_every=2, log_every=1, keep=keep)
        trainer.fit(nn.Linear(8, 8), objective, Points(), root / "run", hooks=[Published(disk)], say=lambda line: None)
    return disk


def survived(disk: Recorder, after: int, folder: Path) -> str:
    """What was lost, if anything: of a run's folder as a power cut left it."""
    done: dict[str, int] = {}
    for place, (kind, step) in disk.marks:
        if place <= after:
            done[kind] = step
    run = folder / "run"
    try:
        found = latest(run, lambda line: None)
    except ValueError as error:
        return f"no checkpoint can be read: {error}"
    if "step" in done and (found is None or found.step < done["step"]):
        return f"step {done['step']} was saved, {found and found.step} is left"
    if "weights" in done or (run / "weights.safetensors").exists():
        try:
            read_weights(run / "weights.safetensors")
        except ValueError as error:
            return f"the weights: {error}"
    if found is not None:
        Log(run, found.step).__exit__()
        steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
        if steps != list(range(1, found.step + 1)):
            return f"rows of the log: {steps} at step {found.step}"
    return ""


def campaign(folder: Path, disk: Recorder, cuts: int, seed: int = 0, syncs: bool = True) -> list[str]:
    """What was lost in each of so many power cuts; "" where nothing was."""
    draw, found = random.Random(seed), []
    for _ in range(cuts):
        after = draw.randint(1, len(disk.events))
        cut(disk, after, folder / "left", draw, syncs)
        found.append(survived(disk, after, folder / "left"))
        shutil.rmtree(folder / "left")
    return found


@pytest.mark.parametrize("keep", [1, 3])
def test_a_power_cut_loses_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int) -> None:
    disk = trained(tmp_path / "disk", monkeypatch, keep)
    assert len(disk.events) > 150 and [what for _, what in disk.marks if what[0] == "step"][-1] == ("step", 14)
    lost = campaign(tmp_path, disk, 30, seed=keep)
    assert not any(lost), lost


@pytest.mark.slow
def test_three_hundred_power_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for keep in (1, 2, 3):
        lost = campaign(tmp_path, trained(tmp_path / str(keep), monkeypatch, keep), 100, seed=keep)
        assert not any(lost), lost


def test_without_syncs_checkpoints_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = trained(tmp_path / "disk", monkeypatch, keep=1)
    assert sum(map(bool, campaign(tmp_path, disk, 30, syncs=False))) > 10


def test_the_naive_way_loses_them(tmp_path: Path) -> None:
    """One file, overwritten in place, even if it is synced each time."""
    assert sum(naive(tmp_path, 40)) > 5


def naive(folder: Path, cuts: int, seed: int = 0) -> list[bool]:
    """Whether each power cut leaves nothing that can be read, where a checkpoint is one file written in place."""
    import os

    root, draw, found = folder / "naive", random.Random(seed), []
    folder.mkdir(parents=True, exist_ok=True)
    with recorded(folder) as disk:
        root.mkdir(parents=True)
        for step in range(8):
            with open(root / "state.safetensors", "wb") as file:
                content = to_bytes({"w": torch.full((200,), float(step))})
                file.write(content[:400])
                file.flush()
                disk.written(str(root / "state.safetensors"))
                file.write(content[400:])
                file.flush()
                os.fsync(file.fileno())
            disk.mark(step)
    for _ in range(cuts):
        after = draw.randint(disk.marks[0][0], len(disk.events))
        cut(disk, after, folder / "left", draw)
        try:
            read_weights(folder / "left" / "naive" / "state.safetensors")
            found.append(False)
        except ValueError:
            found.append(True)
        shutil.rmtree(folder / "left")
    return found
