"""Sampling through ONNX Runtime beside torch: the same pictures in turn, in one process.

`python -m benchmarks engines RUN... [--threads=2] [--rounds=15] [--batch=16,1] [--steps=10] [--device=cpu]`; goal: 1.5 times the
rate of torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.pairs import pairs
from unnoise.model import Model, load

GOAL = 1.5


def walk(model: Model, batch: int, steps: int) -> Callable[[], torch.Tensor]:
    return lambda: model.sample(batch, seed=0, steps=steps)


def measure(run: str, batch: int, steps: int, rounds: int, device: str) -> dict[str, Any]:
    overrides = [f"model.Defaults.batch={batch}"]
    eager, onnx = (load(run, device=device, overrides=overrides, engine=engine) for engine in ("eager", "onnx"))
    apart = float((walk(eager, batch, steps)() - walk(onnx, batch, steps)()).abs().max())
    timed = pairs(walk(eager, batch, steps), walk(onnx, batch, steps), rounds, device)
    per_s = batch / timed["clock"]["theirs_s"]
    return {
        "batch": batch,
        "steps": steps,
        "pictures_apart": apart,
        "onnx_pictures_per_s": round(per_s, 2),
        "eager / onnx": timed,
    }


def main(*arguments: str) -> None:
    options = {"threads": "2", "rounds": "15", "batch": "16,1", "steps": "10", "device": "cpu"}
    options |= dict(argument.removeprefix("--").split("=") for argument in arguments if argument.startswith("--"))
    result: dict[str, Any] = {"goal": GOAL, "device": options["device"]}
    for threads in map(int, options["threads"].split(",")):
        torch.set_num_threads(threads)
        for run in (argument for argument in arguments if not argument.startswith("--")):
            for batch in map(int, options["batch"].split(",")):
                told = measure(run, batch, int(options["steps"]), int(options["rounds"]), options["device"])
                result[f"{run.rstrip('/').split('/')[-1]}, batch {batch}, {threads} threads"] = told
                print(run, batch, threads, told, file=sys.stderr)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
