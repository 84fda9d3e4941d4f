"""What a run's folder tells of its training: log, recipe, machine."""

from __future__ import annotations

import itertools
import json
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import unnoise
from unnoise.model import Model
from unnoise.task import machine

SETS = ("held_out", "trained_on")  # each row of validation has the loss by band of these


@dataclass(frozen=True)
class History:
    """The rows of `log.jsonl`, oldest first."""

    rows: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> History:
        path = folder / "log.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        return cls([json.loads(line) for line in lines if line.endswith("}")])

    @property
    def steps(self) -> int:
        return max((row["step"] for row in self.rows), default=0)

    def total(self, name: str) -> float | None:
        """The last value of a clock; of a run that was resumed, whose clocks began anew, the sum over its parts."""
        values = [clock[name] for row in self.rows if name in (clock := row.get("time", row))]
        ends = [before for before, after in itertools.pairwise(values) if after < before]
        return sum(ends) + values[-1] if values else None

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """A value over the steps."""
        found = [(row["step"], row[name]) for row in self.rows if isinstance(row.get(name), float | int)]
        return [step for step, _ in found], [value for _, value in found]

    @property
    def rollbacks(self) -> list[dict[str, Any]]:
        """Each time that the run went back: to which `step`, `from` which, `because` of what, at what share `rate` of before."""
        return [{"step": row["step"], **row["rolled_back"]} for row in self.rows if "rolled_back" in row]

    @cached_property
    def bands(self) -> dict[str, dict[str, tuple[list[int], list[float]]]]:
        """Loss by noise band: band -> set -> steps and values."""
        found: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
        for row in self.rows:
            for name in SETS:
                for band, value in row.get(name, {}).items():
                    if isinstance(value, float | int):
                        steps, values = found.setdefault(band, {}).setdefault(name, ([], []))
                        steps.append(row["step"])
                        values.append(value)
        return found

    def numbers(self) -> dict[str, Any]:
        """Cost of training, and the last loss in each band."""
        rate = [clock["images_per_s"] for row in self.rows if "images_per_s" in (clock := row.get("time", {}))]
        last = {name: {band: sets[name][1][-1] for band, sets in self.bands.items() if name in sets} for name in SETS}
        return {
            "train_steps": self.steps,
            "train_seconds": self.total("seconds"),
            "cpu_seconds": self.total("cpu_seconds"),
            "images_per_second": sorted(rate)[len(rate) // 2] if rate else None,
            "rollbacks": self.rollbacks,
            "loss_by_band": last["held_out"],
            "loss_by_band_trained_on": last["trained_on"],
        }


def facts(model: Model, folder: Path) -> dict[str, Any]:
    """Recipe, size, machines and versions."""
    return {
        "recipe": {section: dict(members) for section, members in model.recipe.resolved().sections.items()},
        "parameters": sum(p.numel() for p in model.denoiser.parameters()),
        "trained_on": _trained_on(folder),
        "hardware": machine.describe() | {"device": str(model.device)},
        "versions": {"unnoise": unnoise.__version__, "torch": torch.__version__, "python": platform.python_version()},
    }


def _trained_on(folder: Path) -> dict[str, Any]:
    """Device, threads and torch of training, as the newest checkpoint has them; nothing where there is none."""
    states = sorted(folder.glob("state/step-*/state.json"), key=lambda path: int(path.parent.name.removeprefix("step-")))
    return dict(json.loads(states[-1].read_text("utf-8")).get("machine", {})) if states else {}
