"""What makes a training step faster here, and what slower: each option beside the step as it comes, in turn, in one process.

    python -m benchmarks faster DATA [--only=bf16,channels_last,recompute,micro_batch,compile] [--size=small|large] [--rounds=11]
        [--threads=1] [--batch=16] [--device=cpu]

DATA as for `steps`. A step is all of it: data, noise, forward, backward, update, average. Ratios are times over that of the plain
step (fp32, no option): below 1 is faster. `compile` is left out unless named: it takes minutes before its first step.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks._folder import unpacked
from benchmarks.pairs import pairs
from benchmarks.steps import PICTURES, arranged
from unnoise.train.run import Run

OPTIONS = {
    "bf16": "train.Trainer.precision='bf16'",
    "channels_last": "train.Trainer.channels_last=true",
    "recompute": "network.UNet.recompute=true",
    "micro_batch": "train.Trainer.micro_batch=1",
    "compile": "train.Trainer.compile=true",
}


def stepper(data: Path, options: dict[str, Any], folder: Path, *changes: str) -> Callable[[], None]:
    """One whole step a call, as the trainer makes it between two rows of its log."""
    setting = arranged(data, options, *changes)
    model = setting.model.denoiser
    run = Run(setting.trainer, model, setting.objective, setting.data, folder, setting.prepare, setting.on)
    run.begin(None, {}, (), str)
    if setting.trainer.compile:
        model.network.compile()
    steps = run.batches(0)

    def step() -> None:
        number, parts = next(steps)
        run.learner.update(number, run.gradients(number, parts), setting.trainer.rate(number))

    return step


def main(*arguments: str) -> None:
    options: dict[str, Any] = {"only": "bf16,channels_last,recompute,micro_batch", "size": "small", "rounds": "11"}
    options |= {"threads": "1", "batch": "16", "device": "cpu", "precision": "fp32", "compile": "false"}
    options |= dict(argument.removeprefix("--").split("=") for argument in arguments if argument.startswith("--"))
    (data,) = (argument for argument in arguments if not argument.startswith("--"))
    torch.set_num_threads(int(options["threads"]))
    told: dict[str, Any] = {"options": options}
    with tempfile.TemporaryDirectory() as below:
        root = unpacked(Path(data), Path(below), PICTURES)
        plain = stepper(root, options, Path(below))
        for name in options["only"].split(","):
            changed = stepper(root, options, Path(below), OPTIONS[name])
            told[name] = pairs(changed, plain, int(options["rounds"]), options["device"])
            print(name, told[name], file=sys.stderr)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
