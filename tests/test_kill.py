"""A run killed again and again, also in the middle of a save, ends with the bits of one that never was.

`python tests/test_kill.py FOLDER KILLS` does so many kills; `benchmarks/kills.py` more of them.
"""

import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import unnoise

PACKAGES = str(Path(unnoise.__file__).parents[1])
STEPS, SAVE_EVERY = int(os.environ.get("KILL_STEPS", "120")), 4
OPERATIONS = 10  # counted in one save: a tensor written; log, three files and two folders synced; two renames, one removal


def child(folder: Path) -> None:
    """Train. With KILL_AT=n the process kills itself at the n-th thing it does to the disk while saving."""
    import torch
    from points import Points
    from torch import Tensor, nn

    from unnoise.tensor import Rng
    from unnoise.train import State, Trainer, checkpoint

    torch.set_num_threads(1)
    left = int(os.environ.get("KILL_AT", "0"))

    def counted(function: Callable) -> Callable:
        def call(*args: Any, **keywords: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **keywords)

        return call

    if left:
        serialise = checkpoint.serialise

        def chunks(tensors: dict[str, Tensor]) -> Iterator[bytes | memoryview]:
            for k, chunk in enumerate(serialise(tensors)):
                yield chunk if k != 2 else counted(lambda chunk: chunk)(chunk)

        checkpoint.serialise = chunks
        os.fsync, os.rename, shutil.rmtree = counted(os.fsync), counted(os.rename), counted(shutil.rmtree)

    def objective(model: nn.Module, batch: dict[str, Tensor], rng: Rng) -> Tensor:
        return (model(batch["x"] + rng.normal((8,), "eps")) - batch["x"]).square().mean(1)

    class Tell:
        every = 1

        def __call__(self, state: State) -> None:
            print("step", state.step, flush=True)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Dropout(0.1), nn.Linear(64, 8))
    trainer = Trainer(STEPS, 12, lr=1e-3, decay="cosine", save_every=SAVE_EVERY, log_every=7)
    trainer.fit(model, objective, Points(), folder, hooks=[Tell()], say=lambda line: print(line, flush=True))


def session(folder: Path, kill_after: int | None = None, kill_at: int = 0, delay: float = 0.0) -> tuple[str, int]:
    """Train once, in a process forked from this one; return its first line and exit status.

    Args:
        kill_after: Kill it when it has told this step and `delay` seconds have gone.
        kill_at: Let it kill itself at this operation of the disk.
    """
    sys.stdout.flush()
    ours, theirs = os.pipe()
    if not (process := os.fork()):
        for number in (1, 2):
            os.dup2(theirs, number)
        os.environ["KILL_AT"], code = str(kill_at), 1
        try:
            child(folder)
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(theirs)
    lines: list[str] = []
    with os.fdopen(ours) as told:
        for line in told:
            lines.append(line.strip())
            if kill_after is not None and line.startswith("step ") and int(line.split()[1]) >= kill_after:
                time.sleep(delay)
                os.kill(process, signal.SIGKILL)
                break
        told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL), lines
    return lines[0] if lines else "", status


def ready() -> None:
    """Imports, once, what every process that is forked from this one needs."""
    for name in ("torch._dynamo", "safetensors.torch", "unnoise.train"):
        importlib.import_module(name)


def committed(folder: Path) -> int:
    """The newest step whose folder has its final name; 0 if there is none."""
    return max((int(path.name[5:]) for path in (folder / "state").glob("step-*") if ".tmp-" not in path.name), default=0)


def outcome(folder: Path) -> dict[str, Any]:
    """What must be equal: digests of weights, averages, moments and state, and the log without its times."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("time")
    manifest = json.loads((folder / "state" / f"step-{STEPS}" / "manifest.json").read_text())
    return {"files": manifest["files"], "log": rows, "left": sorted(path.name for path in (folder / "state").iterdir())}


def campaign(folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill a run `kills` times, in turn at a random moment and inside a save, at each place of one in its turn, and let it end.

    Returns:
        Each kill (kind, checkpoint found afterwards, whether the next session began there), and whether the end is that
        of a run without kills.
    """
    draw, rows, killed = random.Random(seed), [], folder / "killed"
    while len(rows) < kills:
        before, inside = committed(killed), len(rows) % 2 == 0
        room = max(1, 2 * (STEPS - before) // (kills - len(rows)) - SAVE_EVERY)  # so that the last kill finds it at work
        if inside:
            saves = max(1, min(3, room // SAVE_EVERY))
            place = len(rows) // 2 % OPERATIONS + 1
            line, status = session(killed, kill_at=OPERATIONS * draw.randrange(saves) + place)
        else:
            line, status = session(killed, kill_after=before + draw.randint(1, room), delay=draw.uniform(0, 0.01))
        began = int(line.split()[2].replace(",", "")) if line.startswith("resumes at") else 0
        began = began if line else before  # killed as it swept up after the last one, before a word
        found = committed(killed)
        rows.append(
            {"inside_save": place if inside else 0, "killed": status != 0, "began": began, "expected": before, "committed": found}
        )
    session(killed)
    session(folder / "straight")
    return {
        "kills": sum(row["killed"] for row in rows),
        "inside_save": sum(row["killed"] and row["inside_save"] > 0 for row in rows),
        "places_in_a_save": len({row["inside_save"] for row in rows if row["killed"]} - {0}),
        "lost_checkpoints": sum(row["began"] < row["expected"] for row in rows),
        "equal": outcome(killed) == outcome(folder / "straight"),
        "sessions": rows,
    }


def test_a_run_killed_five_times_ends_with_the_same_bits(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PACKAGES}
    command = [sys.executable, __file__, str(tmp_path), "5"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["equal"] and result["kills"] == 5 and result["lost_checkpoints"] == 0, result


if __name__ == "__main__":
    ready()
    print(json.dumps(campaign(Path(sys.argv[1]), int(sys.argv[2]))))
