"""What a training would cost on this machine: measured by a few of its own steps, in a process of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from unnoise.recipe import Recipe
from unnoise.task.pages.html import duration

GB = 1e9


@dataclass(frozen=True)
class Forecast:
    """What training would take.

    Args:
        parameters, items, shape: Of the network, the training set and one sample.
        steps, batch, micro_batch: Of the trainer; the last is how many samples are in memory at once.
        seconds_per_step: Median of the steps that were measured: data, forward, backward, update, average.
        beside: What happens beside the steps: name -> seconds of one call, and how often.
        memory: Bytes at the peak: of the process, or on an accelerator of the device.
        memory_parts: Of it "program" (Python, torch, data), "weights" (and gradients, moments, average), "activations".
        memory_free: Bytes that are there now.
        disk, disk_free: Bytes that the run's folder will take, and those there are.
        measured: Whether steps were run; if not, they would not have fitted.
        fitting: The largest micro_batch that would fit, where `micro_batch` does not.
    """

    parameters: int
    items: int
    shape: list[int]
    steps: int
    batch: int
    micro_batch: int
    device: str
    threads: int
    seconds_per_step: float | None
    beside: dict[str, tuple[float, int]]
    memory: int
    memory_parts: dict[str, int]
    memory_free: int
    disk: int
    disk_free: int
    measured: bool
    fitting: int | None

    @property
    def seconds(self) -> float | None:
        """Of the whole training, without the report at its end."""
        if self.seconds_per_step is None:
            return None
        return self.steps * self.seconds_per_step + sum(seconds * times for seconds, times in self.beside.values())

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {**asdict(self), "seconds": self.seconds}

    def lines(self) -> list[str]:
        """For people."""
        parts = ", ".join(f"{name} {size / GB:.2f}" for name, size in self.memory_parts.items())
        about = f"{self.parameters:,} parameters, {self.items:,} items of {' x '.join(map(str, self.shape))}"
        found = [f"{about}, on {self.device} with {self.threads} threads"]
        if self.seconds is not None and self.seconds_per_step is not None:
            rate = f"{duration(self.seconds_per_step)} a step of {self.batch}"
            named = [f"{name} {duration(s * n)}" for name, (s, n) in self.beside.items() if s * n > 0.01 * self.seconds]
            found.append(
                f"time: {duration(self.seconds)} for {self.steps:,} steps ({rate}{', of it ' * bool(named)}{', '.join(named)})"
            )
        found.append(f"memory: {self.memory / GB:.2f} GB ({parts}); {self.memory_free / GB:.1f} GB are free")
        found.append(f"disk: {self.disk / GB:.2f} GB; {self.disk_free / GB:.1f} GB are free")
        if self.fitting is not None:
            mend = f"train.Trainer.micro_batch={self.fitting} would fit" if self.fitting else "not even one sample would fit"
            found.append(f"warning: that is more memory than there is; {mend}")
        if self.disk > self.disk_free:
            found.append("warning: that is more than the disk has")
        return found


def forecast(recipe: Recipe, device: str = "auto", folder: Path = Path()) -> Forecast:
    """Runs a few steps of the training that a recipe describes in a process of its own, whose memory is that of the training.

    Args:
        recipe: As `unnoise.task.train.read` gives it.
        device: Where it would train.
        folder: Where its run would lie.

    Raises:
        ValueError: For data or options that do not fit.
        RuntimeError: If the process died.
    """
    asked = {"recipe": recipe.dump(), "device": device, "threads": torch.get_num_threads(), "foreign": recipe.foreign}
    asked["foreign"] = None if recipe.foreign is None else sorted(recipe.foreign)
    command = [sys.executable, "-m", "unnoise.task.check.measure"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    if done.returncode == 2:
        raise ValueError(done.stderr.strip().splitlines()[-1])
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
        raise RuntimeError(f"the steps that were to be measured failed: {last}")
    found = json.loads(done.stdout.splitlines()[-1])
    beside = {name: (seconds, times) for name, (seconds, times) in found.pop("beside").items()}
    there = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
    return Forecast(beside=beside, disk_free=shutil.disk_usage(there).free, **found)
