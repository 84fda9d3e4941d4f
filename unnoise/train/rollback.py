"""Going back: a run that has met NaN or infinity returns to its newest checkpoint and goes on from there at a lower rate.

Each time is an entry of `state/rollbacks.json`, made durable before anything else changes, and told again by every later
checkpoint. What it says holds for all steps after the one that it went back to, so that the learning rate stays a function of the
step, wherever a run is killed and goes on.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from . import disk

FILE = "rollbacks.json"


@dataclass(frozen=True)
class Rollback:
    """Once back.

    Args:
        step: The update that was not finite.
        to: Updates that were made where it went on.
        rate: What the learning rate is multiplied by in all steps after `to`.
        because: What was not finite.
    """

    step: int
    to: int
    rate: float
    because: str

    @classmethod
    def of(cls, told: Any) -> Self:
        return cls(int(told["step"]), int(told["to"]), float(told["rate"]), str(told["because"]))

    @property
    def row(self) -> dict[str, Any]:
        """What the log has of it, in a row of step `to`."""
        return {"rolled_back": {"from": self.step, "rate": self.rate, "because": self.because}}


def scale(made: Sequence[Rollback], step: int) -> float:
    """What the learning rate of update number `step` is multiplied by."""
    return math.prod(one.rate for one in made if one.to < step)


def read(folder: Path, told: Sequence[Any] = ()) -> list[Rollback]:
    """All that a run's folder knows of.

    Args:
        folder: Of the run.
        told: Those that its newest checkpoint tells of, in place of a file that is not there.

    Raises:
        ValueError: The file is damaged.
    """
    path = folder / "state" / FILE
    try:
        listed = json.loads(path.read_bytes()) if path.is_file() else []
        return [Rollback.of(one) for one in max(listed, told, key=len)]  # it only ever grows
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read; it is damaged: remove it to go on with what the checkpoint tells") from error


def write(folder: Path, made: Sequence[Rollback]) -> None:
    """Keep them for good."""
    disk.make(folder / "state")
    disk.replace(folder / "state" / FILE, [json.dumps(plain(made), indent=1).encode() + b"\n"])


def plain(made: Sequence[Rollback]) -> list[dict[str, Any]]:
    """As JSON holds them."""
    return [asdict(one) for one in made]
