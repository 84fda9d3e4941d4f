"""Before training: what the data hold, what training would cost on this machine, and a recipe that suits both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unnoise.domain import Report, scan
from unnoise.recipe import Recipe
from unnoise.task import machine
from unnoise.task.check.forecast import Forecast, forecast
from unnoise.task.check.suggest import Suggestion, largest, suggest

__all__ = ["Forecast", "Preflight", "Suggestion", "check", "forecast", "suggest", "surveyed"]


@dataclass(frozen=True)
class Preflight:
    """What the data hold, what is suggested for them, and what that would cost; the last two None where training cannot begin."""

    report: Report
    suggestion: Suggestion | None
    forecast: Forecast | None

    def __str__(self) -> str:
        lines = [str(self.report)]
        if self.suggestion:
            lines += ["", "suggested:", f"  {self.suggestion.command}", *(f"  {why}" for why in self.suggestion.reasons)]
        if self.forecast:
            lines += ["", "on this machine:", *(f"  {line}" for line in self.forecast.lines())]
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        found: dict[str, Any] = {"data": self.report.json()}
        found["suggestion"] = asdict(self.suggestion) if self.suggestion else None
        found["forecast"] = self.forecast.json() if self.forecast else None
        return found


def check(
    data: Path, recipe: str = "pictures", overrides: Sequence[str] = (), device: str = "auto", measured: bool = True
) -> Preflight:
    """Reads every picture, suggests how to train on them, and measures a few steps of that.

    Args:
        data: A folder of pictures, or an archive of one.
        recipe: What is suggested is this recipe with changes.
        overrides: Changes of one's own, which are not touched.
        device: As for training.
        measured: Whether the cost is measured (some seconds to a minute).

    Raises:
        ValueError: For data that are none, and a recipe that is not right.
    """
    from unnoise.task.train import read

    kind = machine.device(device).type
    report = scan(data, _size(overrides), largest(kind))
    if not report.usable:
        return Preflight(report, None, None)
    made = suggest(report, data, kind, recipe, overrides)
    chosen = read(recipe, data, made.changes)
    return Preflight(report, made, forecast(chosen, device) if measured else None)


def surveyed(recipe: Recipe) -> Report | None:
    """What the pictures are that a recipe names; None for recipes of other data."""
    keys = recipe.members("domain").get("Images")
    if keys is None:
        return None
    size = keys.get("size")
    return scan(keys["root"], tuple(size) if isinstance(size, list) else size)


def _size(overrides: Sequence[str]) -> int | tuple[int, int] | None:
    """The size that was asked for, so that what is read first is what training reads."""
    import tomllib

    for override in overrides:
        key, _, text = override.partition("=")
        if key.strip() == "domain.Images.size":
            value = tomllib.loads(f"value = {text}")["value"]
            return tuple(value) if isinstance(value, list) else value
    return None
