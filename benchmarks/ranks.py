"""Several processes on this machine, over gloo: is what is learnt that of one, and what becomes of faults and kills?

`python -m benchmarks ranks [equal] [faults] [cells]`: all three if none is named.
"""

import json
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

import torch  # noqa: E402
from several import ALL, PATIENCE, collect, do, launch, outcome, strike  # noqa: E402

KINDS, PLACES = ("kill", "raise", "stop", "term"), ("step", "save", "barrier")
STEPS, MICRO = 24, 2
POINTS = {"step 1": 1, "mid-accumulation": 21, "mid-epoch": 31, "epoch end": 26, "last but one": 45}  # parts, two a step


def equal(folder: Path) -> dict[str, Any]:
    """The greatest relative difference of any weight, average or moment to one process's, in float64 and float32."""
    found: dict[str, Any] = {}
    for double in (True, False):
        kind = "float64" if double else "float32"
        do({"world": 1, "folder": str(folder / f"{kind} 1"), "double": double})
        for world, shard in ((2, False), (4, False), (2, True), (3, True)):
            here = folder / f"{kind} {world} {shard}"
            do({"world": world, "folder": str(here), "double": double, "shard": shard})
            found[f"{kind}, {world} processes{', parted' * shard}"] = difference(here, folder / f"{kind} 1")
    do({"world": 1, "folder": str(folder / "halves"), "micro_batch": 4, "dropout": 0.2})
    do({"world": 2, "folder": str(folder / "two"), "dropout": 0.2})
    a, b = (outcome(folder / name, 20) for name in ("halves", "two"))
    found["float32, 2 processes against 2 parts of a batch, with dropout: the same sha256"] = (
        a["state.safetensors"] == b["state.safetensors"] and a["log"] == b["log"]
    )
    found["moved"] = moved(folder)
    return found


def moved(folder: Path) -> dict[str, float]:
    """A run that goes on over other numbers of processes, with weights whole or in parts: its difference to a straight one."""
    for way in ([(2, True), (3, True), (1, False)], [(1, False), (2, True), (2, False)], [(3, True), (1, False), (2, True)]):
        name = " -> ".join(f"{world}{' parted' * shard}" for world, shard in way)
        for steps, (world, shard) in zip((6, 13, 20), way, strict=True):
            done = do({"world": world, "folder": str(folder / name), "shard": shard, "steps": steps, "double": True})
            assert done["codes"] == [0] * world, done
    names = [path.name for path in folder.iterdir() if "->" in path.name and path.is_dir()]
    return {name: difference(folder / name, folder / "float64 1") for name in sorted(names)}


def difference(a: Path, b: Path) -> float:
    from unnoise.train import load

    ours, theirs = (load(run / "state" / "step-20").tensors for run in (a, b))
    assert ours.keys() == theirs.keys()
    names = [name for name in ours if name.startswith(("model", "ema", "power", "optimizer.exp", "objective"))]
    return max(float((ours[n] - theirs[n]).abs().max() / theirs[n].abs().max().clamp(min=1e-12)) for n in names)


def faults(folder: Path) -> dict[str, Any]:
    """Each fault on each of two processes, and the run resumed; beside it a plain loop of which one is stopped."""
    do({"world": 2, "folder": str(folder / "straight"), "patience": 60})
    rows = []
    for number, (kind, place) in enumerate(product(KINDS, PLACES)):
        rank, here = number % 2, folder / f"{kind} in {place}"
        row = do({"world": 2, "folder": str(here), "fault": here.name, "rank": rank})
        after = do({"world": 2, "folder": str(here), "patience": 60})
        row |= {"fault": here.name, "rank": rank, "resumed": after["codes"] == [0, 0]}
        row["resumed_equal"] = row["resumed"] and same(outcome(here, 20), outcome(folder / "straight", 20))
        row["gone_in_time"] = None not in row["codes"] and row["seconds"] <= PATIENCE + 10
        stopped = kind == "term"  # an orderly end, by agreement
        row["named"] = not row["said"] if stopped else len(row["said"]) == 1 and f"rank {rank} of 2" in row["said"][0]
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
    told = ("gone_in_time", "named", "resumed", "resumed_equal")
    return {
        "patience_s": PATIENCE,
        "faults": len(rows),
        **{what: sum(row[what] for row in rows) for what in told},
        "slowest_s": max(row["seconds"] for row in rows),
        "plain_loop_with_one_stopped": naive(PATIENCE + 10),
        "rows": rows,
    }


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether tensors and log are; the options also hold what is safe to change."""
    return a["state.safetensors"] == b["state.safetensors"] and a["log"] == b["log"]


def naive(limit: float) -> str:
    """What a plain loop of all_reduce, with torch's own time-out, does when one of two processes is stopped."""

    def loop() -> None:
        import os

        torch.distributed.init_process_group("gloo")
        for step in range(20):
            if step == 7 and os.environ["RANK"] == "1":
                strike("stop")
            torch.distributed.all_reduce(torch.ones(1))

    codes, seconds = collect(launch(2, loop), limit)
    return f"{codes.count(None)} of 2 processes still there after {seconds:.0f} s"


def cells(folder: Path) -> dict[str, Any]:
    """Killed at six kinds of moments, by 1 and 2 threads, in 1 process and 2: is the end that of a straight run?"""
    rows = []
    for threads, world in product((1, 2), (1, 2)):
        common = {"world": world, "steps": STEPS, "micro_batch": 4 if world == 1 else MICRO, "dropout": 0.2, "threads": threads}
        straight = folder / f"straight {threads} {world}"
        do({**common, "patience": 60, "folder": str(straight), "asked": f"{straight}.asked"})
        for name, at in (*POINTS.items(), ("chain of 10 kills", 5)):
            here = folder / f"{name} {threads} {world}"
            job = {**common, "folder": str(here), "asked": f"{here}.asked"}
            kills = 0
            for _ in range(10 if name.startswith("chain") else 1):
                options = {"save_every": 1} if name.startswith("chain") else {}
                codes = do({**job, **options, "fault": "kill in step", "rank": ALL, "at": at})["codes"]
                kills += codes[-1] == -9
            do({**job, "patience": 60})
            ends = [outcome(run, STEPS) for run in (here, straight)]
            asked = [set(Path(f"{run}.asked").read_text().splitlines()) for run in (here, straight)]
            rows.append(
                {
                    "cell": f"{name}, {threads} threads, {world} processes",
                    "kills": kills,
                    "tensors": ends[0]["state.safetensors"]["sha256"][:16],  # type: ignore[index]
                    "equal": same(*ends),
                    "order_equal": asked[0] == asked[1],
                }
            )
    good = sum(row["equal"] and row["order_equal"] and row["kills"] > 0 for row in rows)
    return {"cells": len(rows), "equal": good, "kills": sum(row["kills"] for row in rows), "rows": rows}


PARTS = {"equal": equal, "faults": faults, "cells": cells}


def main(*names: str) -> None:
    import torch.distributed.fsdp  # noqa: F401  (once, before forking)

    result = {}
    for name in names or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            result[name] = PARTS[name](Path(folder))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
