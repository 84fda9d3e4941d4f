"""The control of `benchmarks/kills.py`: what kills leave of a state that `torch.save` writes in place.

`python -m benchmarks kills_plain [N]`.
A process makes a step, saves, and so on; every other kill falls at any moment, the others at any moment of a save.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

WEIGHTS = 1_000_000  # and as many averages and twice as many moments: 16 MB
STEP = 0.03  # seconds


def main(kills: str = "200", seed: str = "1") -> None:
    draw, rows = random.Random(int(seed)), []
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.pt"
        began = time.perf_counter()
        save(path, 0)
        spent = time.perf_counter() - began
        for k in range(int(kills)):
            save(path, 0)
            inside = k % 2 == 0
            strike(path, inside, draw.uniform(0, spent if inside else 4 * (STEP + spent)))
            rows.append((inside, whole(path)))
    inside = [kept for within, kept in rows if within]
    result = {
        "kills": len(rows),
        "lost": sum(not kept for _, kept in rows),
        "of_them_inside_a_save": sum(not kept for kept in inside),
        "kills_inside_a_save": len(inside),
        "bytes": 16 * WEIGHTS,
    }
    print(json.dumps(result))


def state(step: int) -> dict[str, object]:
    return {"step": step, **{name: torch.full((WEIGHTS,), float(step)) for name in ("weights", "average", "first", "second")}}


def save(path: Path, step: int) -> None:
    torch.save(state(step), path)


def strike(path: Path, inside: bool, after: float) -> None:
    """Starts a process that steps and saves, and kills it so many seconds after its first step, or its second save, has begun."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        for step in range(1, 10_000):
            time.sleep(STEP)
            if step == (2 if inside else 1):
                os.write(tell, b".")
            save(path, step)
        os._exit(0)
    os.read(told, 1)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(told)
    os.close(tell)


def whole(path: Path) -> bool:
    """Whether the file is read, and all of it is of one step."""
    try:
        found = torch.load(path)
        return all(bool((tensor == found["step"]).all()) for name, tensor in found.items() if name != "step")
    except Exception:  # whatever torch says of half a file
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
