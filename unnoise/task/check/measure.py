"""The steps of a forecast: `python -m unnoise.task.check.measure` reads a recipe as JSON and prints what it found."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from unnoise.recipe import Recipe
from unnoise.task.train import Setting, assemble
from unnoise.train import State, checkpoint
from unnoise.train.log import Log
from unnoise.train.memory import AHEAD, SPARE, activations, free
from unnoise.train.run import Run
from unnoise.train.weights import nbytes

WARM, STEPS, SECONDS = 2, 40, 12.0  # steps that are not counted; at most so many are, for so long
PATIENCE = 60.0  # seconds: what takes longer beside the steps is reckoned from them
PICTURE = 200_000  # bytes of a strip of samples


def measure(recipe: Recipe, device: str = "auto") -> dict[str, Any]:
    """What `Forecast` holds, but the disk that is free. The process that calls it is the one whose memory is measured."""
    setting = assemble(recipe, device, say=lambda line: None)
    trainer = setting.trainer
    run = Run(trainer, setting.model.denoiser, setting.objective, setting.data, Path(), setting.prepare, setting.on)
    micro = run.micro_batch
    weights = sum(w.numel() for w in run.learner.named.values())
    fixed = 4 * (4 * weights + sum(p.numel() for p in run.averaged.parameters()))  # weights, gradients, two moments; the average
    one = activations(run, 1)
    each = max(activations(run, 2) - one, 1)
    program = _resident() if setting.on.type == "cpu" else 0
    parts = {"program": program, "weights": fixed, "activations": int(AHEAD * (one + (micro - 1) * each))}
    there = free(setting.on)
    fits = sum(parts.values()) - program <= SPARE * there
    room = int((SPARE * there - fixed) / AHEAD / each)
    found: dict[str, Any] = {
        "parameters": sum(p.numel() for p in setting.model.denoiser.parameters()),
        "items": len(setting.data),
        "shape": list(setting.model.domain.shape),
        "steps": trainer.steps,
        "batch": trainer.batch,
        "micro_batch": micro,
        "device": setting.on.type,
        "threads": torch.get_num_threads(),
        "seconds_per_step": None,
        "beside": {},
        "memory": sum(parts.values()),
        "memory_free": there,
        "measured": fits,
        "fitting": None if fits else max(room, 0),
    }
    if fits:
        with tempfile.TemporaryDirectory() as folder:
            found["seconds_per_step"] = step = _steps(run, setting)
            found["beside"] = _beside(run, setting, Path(folder), step)
        found["memory"] = peak = _peak(setting.on)
        parts["activations"] = max(peak - program - fixed, 0)
    tensors = nbytes(run.learner.tensors())
    pictures = PICTURE * _times(trainer.preview_every, trainer.steps)
    found["disk"] = (trainer.keep + 1) * tensors + 4 * weights + pictures + run.snapshot_bytes
    return found | {"memory_parts": parts}


def _steps(run: Run, setting: Setting) -> float:
    """Seconds of a step of the training itself: data, gradients, update, average."""
    spent: list[float] = []
    began = last = time.perf_counter()
    for step, parts in islice(run.batches(0), WARM + STEPS):
        loss = run.gradients(step, parts)
        run.learner.update(step, loss, setting.trainer.rate(step))
        run.check()
        now = time.perf_counter()
        spent.append(now - last)
        last = now
        if step > WARM and now - began > SECONDS:
            break
    return statistics.median(spent[WARM:] or spent)


def _beside(run: Run, setting: Setting, folder: Path, step: float) -> dict[str, tuple[float, int]]:
    """Seconds and number of hooks and checkpoints."""
    trainer, found = setting.trainer, {}
    with Log(folder) as log:
        state = State(1, trainer.steps, run.learner.model, run.averaged, folder, lambda **values: log.row(1, **values))
        for hook in setting.hooks:
            name = type(hook).__name__.lower()
            guess = getattr(hook, "evaluations", 0) * step / trainer.batch / 3  # a step goes forward once, backward for two
            spent = guess if guess > PATIENCE else _timed(lambda hook=hook: hook(state))  # type: ignore[misc]
            found[name] = (spent, _times(hook.every, trainer.steps))
        run.learner.model.train()

        def save() -> None:
            checkpoint.save(folder, 1, run.learner.tensors(), {})
            checkpoint.prune(folder, 1, 1)

        found["checkpoint"] = (_timed(save), _times(trainer.save_every, trainer.steps))
    return found


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _times(every: int, steps: int) -> int:
    """How often something happens that is due every so many steps (0: never) and after the last."""
    return -(-steps // every) if every else 1


def _resident() -> int:
    return _status("VmRSS") or _most()


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else _status("VmHWM") or _most()


def _most() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(name: str) -> int:
    """A size of this process, in bytes; 0 where the system does not tell."""
    path = Path("/proc/self/status")
    lines = path.read_text("ascii").splitlines() if path.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def main() -> None:
    """The process that `forecast` starts."""
    asked = json.loads(sys.stdin.read())
    torch.set_num_threads(asked["threads"])
    try:
        print(json.dumps(measure(Recipe.parse(asked["recipe"], foreign=asked["foreign"]), asked["device"])))
    except ValueError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
