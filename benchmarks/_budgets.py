"""What learns within a budget, and ours: everything is kept in a folder for each, so that nothing is made twice."""

from __future__ import annotations

import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.guidance import Auto
from unnoise.model import load
from unnoise.task.hooks import Publish
from unnoise.task.train import assemble, read
from unnoise.train import read_weights, write_weights
from unnoise.train.snapshots import kept
from unnoise.train.weights import assign

MARGIN = 0.95  # of the budget: what steps cost varies
WARM = (5, 45)  # steps from whose difference the cost of one is told


Distance = Callable[[Tensor], float]  # of samples to test pictures


@dataclass(frozen=True)
class Trained:
    """What a program has learnt in so many minutes, in its folder."""

    program: Program
    minutes: float
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.program.name} {self.minutes:g}"

    def facts(self) -> dict[str, Any]:
        return {"program": self.program.name, "minutes": self.minutes, **json.loads((self.folder / "told.json").read_text())}

    def samples(self, n: int, device: str, distance: Distance) -> Tensor:
        """n samples, (n, 3, 32, 32), at the levels of files; made once."""
        path = self.folder / f"samples-{n}.safetensors"
        if not path.exists():
            began = clock(device)
            x, how = self.program.sampled(self.folder, n, device, distance)
            write_weights(path, {"x": ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)}, {})
            self.tell(**how, sampling_seconds=round(clock(device) - began, 1))
        return read_weights(path)[0]["x"].float() / 127.5 - 1

    def tell(self, **facts: Any) -> None:
        path = self.folder / "told.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, **facts}))


class Program(ABC):
    """One that trains and samples."""

    name: str

    @abstractmethod
    def learn(self, data: Path, wanted: list[Trained], device: str) -> None:
        """Trains what is wanted, each in its folder."""

    @abstractmethod
    def sampled(self, folder: Path, n: int, device: str, distance: Distance) -> tuple[Tensor, dict[str, Any]]:
        """Samples in [-1, 1], and how they were made."""


def trained(program: Program, data: Path, folder: Path, minutes: Sequence[float], device: str) -> list[Trained]:
    """What the program has learnt in each of the times; what is not there yet is trained."""
    made = [Trained(program, m, folder / f"{program.name}-{m:g}") for m in sorted(minutes)]
    if wanted := [one for one in made if not (one.folder / "told.json").exists()]:
        program.learn(data, wanted, device)
    return made


def clock(device: str) -> float:
    """Seconds that the processor has worked for this process; on an accelerator, of the day, once it is done."""
    if device == "cpu":
        return time.process_time()
    torch.get_device_module(device).synchronize()
    return time.perf_counter()


class Ours(Program):
    """The recipe cifar10-speed, with as many steps as the budget has: a few, not counted, tell beforehand what one costs."""

    def __init__(self, name: str = "ours", changes: Sequence[str] = (), guide: float = 0.0, scale: float = 1.0) -> None:
        self.name, self.changes, self.guide, self.scale = name, changes, guide, scale

    def learn(self, data: Path, wanted: list[Trained], device: str) -> None:
        for one in wanted:
            seconds = 60 * one.minutes * MARGIN
            with tempfile.TemporaryDirectory() as trial:
                # The first run also pays what is paid once in a process.
                _, few, more = (
                    self.run(data, Path(trial) / str(k), n, device)["seconds"] for k, n in enumerate((WARM[0], *WARM))
                )
            cost = (more - few) / (WARM[1] - WARM[0])
            one.tell(**self.run(data, one.folder, max(1, WARM[0] + int((seconds - few) / cost)), device))

    def run(self, data: Path, folder: Path, steps: int, device: str) -> dict[str, Any]:
        """Trains as `unnoise train` does, without its reports; everything from the first step to the run's folder counts."""
        setting = assemble(read("cifar10-speed", data, [*self.changes, f"train.Trainer.steps={steps}"]), device, _quiet)
        began, model = clock(device), setting.model
        model.describe(folder)
        hooks = [hook for hook in setting.hooks if isinstance(hook, Publish)]
        model.denoiser = setting.trainer.fit(  # type: ignore[assignment]
            model.denoiser,
            setting.objective,
            setting.data,
            folder,
            prepare=setting.prepare,
            hooks=hooks,
            device=setting.on,
            say=_quiet,
        )  # type: ignore[arg-type]
        seconds, seen = clock(device) - began, steps * setting.trainer.batch
        weights = sum(weight.numel() for weight in model.denoiser.parameters())
        return {"seconds": round(seconds, 1), "steps": steps, "pictures_seen": seen, "parameters": weights}

    def sampled(self, folder: Path, n: int, device: str, distance: Distance) -> tuple[Tensor, dict[str, Any]]:
        model = load(folder, device=device)
        model.precision = "bf16"  # as it was trained
        rules = model.guidance
        if self.scale != 1:
            rules = [Auto(scale=self.scale, other=worse(folder, self.guide, device)), *rules]
        nfe: list[int] = []
        x = model.sample(n, guidance=rules, callback=lambda moment: nfe.append(moment.nfe))
        return x, {"evaluations": max(nfe), "sampler": repr(model.sampler), "guidance": self.scale}


def worse(folder: Path, share: float, device: str) -> Any:
    """The run as it was after a share of its training: the average that it kept then."""
    snapshots = kept(folder)
    path = min(snapshots, key=lambda found: abs(found[0] - share * snapshots[-1][0]))[1]
    model = load(folder, device=device)
    weights, _ = read_weights(path)
    own = {name.removeprefix("0."): weight.float() for name, weight in weights.items() if name.startswith("0.")}
    assign(model.denoiser, {**model.denoiser.state_dict(), **own}, str(path))
    return model.denoiser


def _quiet(line: str) -> None:
    pass
