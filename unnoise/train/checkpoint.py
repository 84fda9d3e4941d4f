"""Checkpoints that survive a kill at any moment: `state/step-N/{state.safetensors, state.json, manifest.json}`.

The manifest holds sha256 and size of the other two and is written last, into a scratch folder that is renamed once it
is whole: a checkpoint exists only if its manifest says so.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from . import disk
from .weights import nbytes, read_weights, serialise

TENSORS, STATE, MANIFEST = "state.safetensors", "state.json", "manifest.json"


class Checkpoint(NamedTuple):
    """What was saved after update number `step`."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
    """Write the checkpoint of `step` below a run's folder and return its path; a whole one or none comes to be.

    Raises:
        OSError: The disk is full: one line with path, needed and free bytes. Earlier checkpoints stay as they are.
    """
    parent = folder / "state"
    disk.make(parent)
    path, needed = parent / f"step-{step}", nbytes(tensors) + (1 << 16)
    draft = disk.scratch(path)
    try:
        with disk.room(parent, needed):
            draft.mkdir()
            files = {
                TENSORS: disk.write(draft / TENSORS, serialise(tensors)),
                STATE: disk.write(draft / STATE, [_json({"step": step, **state})]),
            }
            disk.write(draft / MANIFEST, [_json({"step": step, "files": files})])
            disk.sync_folder(draft)
            if path.exists():  # a damaged one: a run goes on from its newest whole checkpoint and comes by here again
                _discard(path)
            os.rename(draft, path)
            disk.sync_folder(parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return path


def load(path: Path) -> Checkpoint:
    """Read one checkpoint, e.g. `runs/a/state/step-1000`.

    Raises:
        ValueError: It is not whole; one line says what is missing or damaged.
    """
    step = verify(path)
    tensors, _ = read_weights(path / TENSORS, finite=False)  # a buffer may hold an infinity; weights were checked
    return Checkpoint(step, tensors, json.loads((path / STATE).read_bytes()))


def latest(folder: Path, say: Callable[[str], object] = print) -> Checkpoint | None:
    """Read the newest whole checkpoint of a run's folder; None if the run has saved nothing yet.

    Args:
        say: Told one line for each newer checkpoint that is not whole, with the reason.

    Raises:
        ValueError: There are checkpoints and none of them is whole: to begin anew unasked would hide the loss.
    """
    skipped = []
    for path in reversed(steps(folder)):
        try:
            checkpoint = load(path)
        except ValueError as error:
            skipped.append(f"skipped {path.name}: {error}")
            continue
        for line in skipped:
            say(line)
        return checkpoint
    if skipped:
        raise ValueError(f"no whole checkpoint: {'; '.join(skipped)}; remove {folder / 'state'} to begin anew")
    return None


def prune(folder: Path, step: int, keep: int) -> None:
    """Remove all checkpoints but that of `step` and the `keep` - 1 before it, once that of `step` proves to be whole.

    What is newer than `step` goes too: it was found damaged when the run went on from an earlier one.

    Raises:
        ValueError: The checkpoint of `step` is not whole on disk; nothing is removed then.
    """
    verify(folder / "state" / f"step-{step}")
    paths = steps(folder)
    kept = [path for path in paths if _number(path) <= step][-max(keep, 1) :]
    for path in paths:
        if path not in kept:
            _discard(path)


def steps(folder: Path) -> list[Path]:
    """The checkpoints of a run's folder, whole or not, in the order of their steps."""
    found = (path for path in (folder / "state").glob("step-*") if re.fullmatch(r"step-\d+", path.name))
    return sorted(found, key=_number)


def verify(path: Path) -> int:
    """Compare a checkpoint's files with its manifest and return its step; ValueError says what is wrong."""
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise ValueError(f"{manifest} is missing; the checkpoint was never finished or has been damaged")
    try:
        content = json.loads(manifest.read_bytes())
        step, files = content["step"], {name: content["files"][name] for name in (TENSORS, STATE)}
        expected = {name: (facts["size"], facts["sha256"]) for name, facts in files.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{manifest} cannot be read; it is damaged") from error
    if step != _number(path):
        raise ValueError(f"{manifest} is of step {step}; it is damaged or was moved")
    for name, (size, sha256) in expected.items():
        file = path / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            raise ValueError(f"{file} is missing" if found is None else f"{file} has {found:,} bytes of {size:,}")
        if disk.digest(file) != sha256:
            raise ValueError(f"{file} does not have the sha256 of its manifest; it is damaged")
    return step


def _number(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _discard(path: Path) -> None:
    """Remove a checkpoint; should the process die half-way, what is left bears a scratch name and is swept."""
    doomed = path.with_name(f"{path.name}{disk.SCRATCH}old")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(path, doomed)
    shutil.rmtree(doomed)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"
