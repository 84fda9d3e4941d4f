"""An evaluation: numbers, each with its interval, what real data reach, and the protocol it is a number of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from unnoise.metric import Estimate


@dataclass(frozen=True)
class Number:
    """A number with its interval.

    Args:
        value, low, high: It, and the ends of its 95 % interval.
        real: The same of real data that are not in the reference.
        protocol: How it was measured, in a line: numbers of unlike protocols are different things.
    """

    value: float
    low: float
    high: float
    real: Estimate | None = None
    protocol: str = ""


@dataclass(frozen=True)
class Evaluation:
    """What is known of a set of samples.

    Args:
        name: Of the samples.
        numbers: By name.
        verdict: What they say, in words; one line a finding.
        about: What was compared with what: source, counts, walk, machine.
        classes: A row for each class: name, expected, share, asked, accuracy, real.
        shown: Some samples, unpicked.
        pairs: The samples nearest to the training data: sample, its neighbour, their distance over the held-out data's median.
        distances: To the nearest training item, over that median: of the samples, and of the held-out data.
        confusion: How many samples that were asked to be of a class (rows) were recognised as each, (K, K).
    """

    name: str
    numbers: dict[str, Number]
    verdict: list[str]
    about: dict[str, Any]
    classes: list[dict[str, Any]] = field(default_factory=list)
    shown: Tensor | None = None
    pairs: list[tuple[Tensor, Tensor, float]] = field(default_factory=list)
    distances: tuple[Tensor, Tensor] | None = None
    confusion: Tensor | None = None

    def json(self) -> dict[str, Any]:
        """The numbers by name, and all else but the pictures under "about"."""
        told = {"name": self.name, "verdict": self.verdict, "classes": self.classes, **self.about}
        return {name: _plain(number) for name, number in self.numbers.items()} | {"about": finite(told)}

    def write(self, path: Path) -> None:
        """Keeps it as JSON."""
        path.write_text(json.dumps(self.json(), indent=1, allow_nan=False) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """What `write` kept, without pictures.

        Raises:
            ValueError: For another file.
        """
        try:
            told = json.loads(path.read_text("utf-8"))
            about = dict(told.pop("about"))
            numbers = {name: _number(fields) for name, fields in told.items()}
            return cls(about.pop("name"), numbers, about.pop("verdict"), about, about.pop("classes"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not an evaluation that `unnoise evaluate --json` wrote ({error})") from error


def _plain(number: Number) -> dict[str, Any]:
    ends = {"value": number.value, "low": number.low, "high": number.high}
    return finite(ends | {"real": number.real and number.real._asdict(), "protocol": number.protocol})


def _number(fields: Mapping[str, Any]) -> Number:
    value, low, high = (_float(fields[name]) for name in ("value", "low", "high"))
    real = fields["real"] and Estimate(*(_float(fields["real"][name]) for name in Estimate._fields))
    return Number(value, low, high, real, str(fields["protocol"]))


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def finite(value: Any) -> Any:
    """A value that JSON can hold: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
