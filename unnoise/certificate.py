"""Proof that two networks answer alike: what both were asked, how far their answers are apart, and what they were.

Every import and every export of weights ends with one, `certificate.json` beside the weights. The questions are fixed: noise
keyed by `Rng`, several levels, the conditions and their nulls; whoever has both sides can ask them again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.condition import Condition, Conditions
from unnoise.tensor import Rng
from unnoise.train import disk

__all__ = ["FILE", "Certificate", "Comparison", "Questions", "answers", "compare", "questions"]

Network = Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor]  # (x, level, cond) -> what it says

FILE = "certificate.json"
LEVELS = (0.0, 1.0, 249.0, 500.0, 999.0)
MOST = 8  # classes of one condition that are asked for, evenly spread


@dataclass(frozen=True)
class Questions:
    """What both sides are asked: B rows of x, level and conditions.

    Args:
        x, level, cond: (B, *shape), (B,), and each condition, (B, ...).
        seed: Of x and of conditions that are numbers.
    """

    x: Tensor
    level: Tensor
    cond: dict[str, Tensor]
    seed: int

    def facts(self) -> dict[str, Any]:
        """The same in words for the certificate."""
        told = {name: _plain(value) for name, value in self.cond.items()}
        x = "standard normal: Rng(range(seed, seed + B)).normal(shape, 'certificate')"
        return {"seed": self.seed, "shape": list(self.x.shape), "x": x, "levels": self.level.tolist(), "conditions": told}


def questions(
    shape: Sequence[int], conds: Conditions, levels: Sequence[float] = LEVELS, *, null: bool = True, seed: int = 0
) -> Questions:
    """Fixed questions: every level, and of every condition some values (of few classes all) and, if `null`, none.

    Args:
        shape: Of one sample.
        conds: What the network takes.
        levels: What it is told of the noise.
        null: Ask without each condition too; for a side that cannot be asked so, leave it out.
        seed: Of the draws.
    """
    values = {name: _values(condition, null, seed) for name, condition in conds.items()}
    rows = max([len(levels), *map(len, values.values())])
    taken = torch.arange(rows)
    cond = {name: value[taken % len(value)] for name, value in values.items()}
    x = Rng(range(seed, seed + rows)).normal(shape, "certificate")
    return Questions(x, torch.tensor(levels, dtype=torch.float32)[taken % len(levels)], cond, seed)


@torch.no_grad()
def answers(network: Network, asked: Questions, batch: int = 4) -> Tensor:
    """What a network says to the questions, `batch` rows at a time, (B, ...) in float64."""
    said = []
    for first in range(0, len(asked.x), batch):
        rows = slice(first, first + batch)
        said.append(network(asked.x[rows], asked.level[rows], {name: value[rows] for name, value in asked.cond.items()}))
    return torch.cat(said).double().cpu()


@dataclass(frozen=True)
class Comparison:
    """How far two answers are apart: the largest error, absolute and relative to the largest value.

    The absolute error may be `tolerance`, or that times the largest value where this is above 1.

    Args:
        what: Was compared.
        absolute, relative: The largest error.
        tolerance: That is allowed.
        passed: Whether it is kept.
    """

    what: str
    absolute: float
    relative: float
    tolerance: float
    passed: bool


def compare(what: str, ours: Tensor, theirs: Tensor, tolerance: float) -> Comparison:
    """Compares our numbers with theirs; what is not finite, or of another shape, is not equal."""
    if ours.shape != theirs.shape:
        return Comparison(
            f"{what} (shape {tuple(ours.shape)} beside {tuple(theirs.shape)})", torch.inf, torch.inf, tolerance, False
        )
    size = float(theirs.abs().max()) if theirs.numel() else 0.0
    error = float((ours.double() - theirs.double()).abs().max()) if theirs.numel() else 0.0
    return Comparison(what, error, error / size if size else error, tolerance, error <= tolerance * max(1.0, size))


@dataclass(frozen=True)
class Certificate:
    """What was compared with what, and the verdict.

    Args:
        sides: The two (or more) sides by name, each with its facts: class, version, digest of its weights.
        asked: The questions, `Questions.facts()`.
        comparisons: One or more.
        note: What a reader should know besides, such as that no reference was at hand.
        date: Of the comparison.
    """

    sides: Mapping[str, Mapping[str, Any]]
    asked: Mapping[str, Any]
    comparisons: Sequence[Comparison]
    note: str = ""
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d"))

    @property
    def passed(self) -> bool:
        """Whether there was something to compare, and all of it was equal."""
        return bool(self.comparisons) and all(one.passed for one in self.comparisons)

    def demand(self) -> Certificate:
        """This certificate, if it passed.

        Raises:
            ValueError: Else, with the first comparison that failed.
        """
        for one in self.comparisons:
            if not one.passed:
                raise ValueError(
                    f"{' and '.join(self.sides)} do not agree: {one.what} differ by {one.absolute:.3g} "
                    f"({one.relative:.3g} of the largest), {one.tolerance:g} is allowed; nothing was written"
                )
        if not self.comparisons:
            raise ValueError(f"{' and '.join(self.sides)} were not compared; nothing was written")
        return self

    def line(self) -> str:
        """The certificate in one line."""
        told = "; ".join(f"{one.what}: {one.absolute:.2g} (allowed {one.tolerance:g})" for one in self.comparisons)
        return f"{'equal' if self.passed else 'DIFFERENT'}: {' | '.join(self.sides)}; largest error of {told}"

    def write(self, folder: Path) -> Path:
        """Writes `certificate.json` into a folder."""
        told = {"verdict": "equal" if self.passed else "different", **asdict(self)}
        path = Path(folder) / FILE
        disk.replace(path, [json.dumps(told, indent=1).encode()])
        return path


def _values(condition: Condition, null: bool, seed: int) -> Tensor:
    """Values to ask for, the null last."""
    if condition.classes:
        count = len(condition.classes)
        few = min(MOST, count)
        chosen = torch.tensor([k * (count - 1) // max(few - 1, 1) for k in range(few)])
        some = chosen.reshape(-1, *[1] * len(condition.shape)).expand(-1, *condition.shape)
    else:
        some = Rng(range(seed, seed + 2)).normal(condition.shape, "certificate value") * condition.std + condition.mean
    return torch.cat([some, condition.null(1).to(some.dtype)]) if null and condition.route not in ("concat", "known") else some


def _plain(value: Tensor) -> Any:
    """A condition's values for JSON, None for those that are absent; only the shape of long ones."""
    if value[0].numel() > 16:
        return f"standard normal of shape {tuple(value.shape)}, scaled"
    return [None if row.is_floating_point() and row.isnan().all() else row.tolist() for row in value]
