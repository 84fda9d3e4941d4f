"""Does an evaluation see what is wrong? `python -m benchmarks.planted [digits|ARCHIVE SIZE] [N]`: faults planted in real data.

Each case is real data that the evaluation knows nothing of, spoiled in one known way; the first is left as it is. The table says
which number sees which fault: its interval is clear of that of the unspoiled data.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unnoise.domain import Digits, Domain, Images
from unnoise.task.evaluate import Evaluation, Wish, measure
from unnoise.task.evaluate.board import NAMES
from unnoise.task.evaluate.real import Real
from unnoise.task.evaluate.sources import Found
from unnoise.tensor import Rng, permutation

DROPPED = (3, 5, 7)
ASIDE = 5  # one in so many of the training items is planted too, where held-out ones are few
ENOUGH = 2000  # held-out items, of which half are planted
COLUMNS = [name for name in NAMES if name != "accuracy"]


@dataclass(frozen=True)
class Part:
    """Some rows of a data set, or an array of items."""

    of: Any
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor, rng: Rng | None = None) -> dict[str, Tensor]:
        rows = self.rows[indices]
        return {"x": self.of[rows]} if isinstance(self.of, Tensor) else self.of.batch(rows, rng)


class Without:
    """A domain without what is planted: half of the held-out items, and, where these are few, some of the training items."""

    def __init__(self, domain: Domain) -> None:
        self.shape, self.conds, self.facts = domain.shape, domain.conds, domain.facts
        whole = measure.real(domain)
        assert whole.held_out is not None and whole.label
        train, held = domain.dataset("train"), whole.held_out
        n, few = len(held["x"]), len(held["x"]) < ENOUGH
        order, among = permutation(len(train), 7, "planted"), permutation(n, 7, "planted")
        aside = order[: len(train) // ASIDE] if few else order[:0]
        self.parts = {"train": Part(train, order[len(aside) :]), "val": _Held(held, among[n // 2 :])}
        some = [{name: column[among[: n // 2]] for name, column in held.items()}, *([train.batch(aside)] if few else [])]
        self.fresh = torch.cat([part["x"] for part in some])
        self.labels = torch.cat([part[whole.label] for part in some])

    def dataset(self, split: str = "train") -> Any:
        if split not in self.parts:
            raise ValueError(f"no {split}")
        return self.parts[split]


@dataclass(frozen=True)
class _Held:
    of: dict[str, Tensor]
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor, rng: Rng | None = None) -> dict[str, Tensor]:
        return {name: column[self.rows[indices]] for name, column in self.of.items()}


def cases(domain: Without, n: int) -> dict[str, Callable[[], Tensor]]:
    """What is planted, by name; n samples each, or what there are."""
    fresh, labels, train = domain.fresh, domain.labels, domain.dataset("train")
    few, kept = fresh[:n], torch.stack([labels != k for k in DROPPED]).all(0)
    copied = train.batch(torch.arange(min(n, len(train))))["x"]
    half = min(len(few), len(copied)) // 2
    return {
        "real": lambda: few,
        "mode dropped": lambda: fresh[kept][:n],
        "blurred": lambda: blurred(few),
        "noisy": lambda: (few + 0.3 * Rng(7, torch.arange(len(few))).normal(few.shape[1:], "planted")).clamp(-1, 1),
        "copied": lambda: copied,
        "half copied": lambda: torch.cat([few[:half], copied[:half]]),
        "narrow": lambda: typical(fresh, labels, n),
    }


def blurred(x: Tensor) -> Tensor:
    """Convolved with (1, 2, 1) / 4 along both sides, twice."""
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
    for _ in range(2):
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])
    return x


def typical(x: Tensor, labels: Tensor, n: int) -> Tensor:
    """The third of each class that lies nearest to its mean: every class is there, and little of each."""
    found = []
    for k in labels.unique().tolist():
        own = x[labels == k]
        near = (own - own.mean(0)).flatten(1).square().sum(1).argsort()
        found.append(own[near[: max(len(own) // 3, 1)]])
    together = torch.cat(found)
    return together[permutation(len(together), 7, "typical")[:n]]


def judged(domain: Any, real: Real, x: Tensor, features: str | None = None) -> Evaluation:
    """The evaluation of samples x."""
    source = Found(Part(x, torch.arange(len(x))), len(x), {"kind": "planted"})
    return measure.evaluation("planted", source, domain, real, Wish(len(x), features=features), lambda line: None)


def main(data: str = "digits", size: str = "28", n: str = "1000", features: str = "") -> None:
    domain = Without(Digits() if data == "digits" else Images(data, size=int(size)))
    real, told = measure.real(domain), {}
    for name, make in cases(domain, int(n)).items():
        told[name] = judged(domain, real, make(), features or None)
        print(f"{name:14} {'; '.join(told[name].verdict)}", file=sys.stderr, flush=True)
    print(table(told), file=sys.stderr)
    found = {name: {"samples": one.about["samples"], "verdict": one.verdict, "numbers": plain(one)} for name, one in told.items()}
    print(json.dumps({"protocol": told["real"].about["protocol"], "cases": found}))


def plain(found: Evaluation) -> dict[str, list[float]]:
    """Each number and the ends of its interval."""
    return {name: [float(f"{end:.4g}") for end in (n.value, n.low, n.high)] for name, n in found.numbers.items()}


def table(told: dict[str, Evaluation]) -> str:
    """Numbers by case, in bold where the fault is seen."""
    unspoiled = told["real"].numbers
    lines = ["| | " + " | ".join(told) + " |", "|---|" + "---|" * len(told)]
    for number in (name for name in COLUMNS if name in unspoiled):
        other, cells = unspoiled[number], []
        for one in (found.numbers.get(number) for found in told.values()):
            seen = one is not None and (one.low > other.high or one.high < other.low)
            text = "" if one is None else f"{one.value:.3g}"
            cells.append(f"**{text}**" if seen else text)
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
