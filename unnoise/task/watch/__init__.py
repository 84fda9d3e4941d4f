"""A run while it trains, as its folder tells: where it stands, how fast it goes, how its losses went, what it makes by now."""

from __future__ import annotations

import os
import time
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from unnoise.task.hooks.trend import told
from unnoise.task.pages.html import duration
from unnoise.task.report.history import History

__all__ = ["Watched", "watched"]

RECENT = 5  # rows of the log, by which the rate is known


@dataclass(frozen=True)
class Watched:
    """What a run's folder tells now.

    Args:
        folder: Of the run.
        history: The rows of its log.
        trainer: The trainer's options, from its recipe.
        alive: Whether the process that holds the folder lives.
        age: Seconds since the last row.
    """

    folder: Path
    history: History
    trainer: dict[str, Any]
    alive: bool
    age: float

    @property
    def step(self) -> int:
        return self.history.steps

    @property
    def steps(self) -> int:
        return max(int(self.trainer.get("steps", 0)), self.step)

    @property
    def finished(self) -> bool:
        return self.step >= self.steps > 0

    @property
    def rate(self) -> float | None:
        """Steps a second, median of the last rows; None before there is one."""
        clocks = [row.get("time", {}).get("images_per_s") for row in self.history.rows]
        known = [clock for clock in clocks if clock][-RECENT:]
        return median(known) / self.trainer.get("batch", 1) if known else None

    @property
    def left(self) -> float | None:
        """Seconds, at that rate and with what happens beside the steps left out; None where it is not known."""
        return (self.steps - self.step) / self.rate if self.rate and not self.finished else None

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.finished:
            return "finished"
        if not self.alive:
            return "stopped; the same command goes on from its last checkpoint" if self.step else "not begun"
        return "training"

    @cached_property
    def words(self) -> list[str]:
        """How its losses went, and the last alarm of its health."""
        health = self.health
        lines = told(self.history)
        if health and health["copies"] > 1.5 * health["new_copies"] + 0.1:
            lines.insert(
                0,
                f"copies: {health['copies']:.0%} of its samples lie near a training item, {health['new_copies']:.0%} of new data",
            )
        return lines

    @property
    def health(self) -> dict[str, float] | None:
        """The newest row of health."""
        return next((row["health"] for row in reversed(self.history.rows) if "health" in row), None)

    @property
    def losses(self) -> dict[str, dict[str, float]]:
        """The newest loss by band of each set."""
        return {band: {name: values[-1] for name, (_, values) in sets.items()} for band, sets in self.history.bands.items()}

    @property
    def preview(self) -> Path | None:
        """The newest strip of samples."""
        return max(self.folder.glob("previews/step-*.png"), default=None)

    def lines(self) -> list[str]:
        """For a terminal."""
        loss = self.history.series("loss")[1]
        facts = [f"{self.step:,} of {self.steps:,} steps ({self.step / max(self.steps, 1):.0%})"]
        facts += [f"{self.rate:.3g} steps/s"] if self.rate else []
        facts += [f"{duration(self.left)} left"] if self.left else []
        facts += [f"loss {loss[-1]:.4g}"] if loss else []
        found = [f"{self.folder}: {self.state}", "  " + ", ".join(facts)]
        for band, sets in self.losses.items():
            found.append(f"  t {band}: " + ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in sets.items()))
        if self.health:
            found.append("  " + ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in self.health.items()))
        found += [f"  {line}" for line in self.words]
        found += [f"  newest samples: {self.preview}"] if self.preview else []
        return found


def watched(run: Path) -> Watched:
    """What a run's folder tells now.

    Raises:
        ValueError: If it is no run's folder.
    """
    if not (run / "recipe.toml").is_file():
        raise ValueError(f"{run}: no run folder (there is no recipe.toml); expected one that `unnoise train` writes")
    trainer = tomllib.loads((run / "recipe.toml").read_text("utf-8")).get("train", {}).get("Trainer", {})
    log = run / "log.jsonl"
    age = time.time() - log.stat().st_mtime if log.is_file() else 0.0
    return Watched(run, History.read(run), trainer, _alive(run / ".lock"), age)


def _alive(lock: Path) -> bool:
    """Whether the process that a lock names lives; the lock itself is not touched, since that could turn a run away."""
    try:
        owner = int(lock.read_text())
        os.kill(owner, 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True
