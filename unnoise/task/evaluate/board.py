"""All metrics of one evaluation: each block of samples goes through the features once, and to every metric that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from unnoise import metric
from unnoise.metric import Estimate, Metric
from unnoise.metric.features import Classifier, Features
from unnoise.task.evaluate.real import Real
from unnoise.task.evaluate.reference import Reference

FAMILIES = {  # the numbers that come together, and what they are taken of
    "frechet": ("features", ("frechet", "frechet_infinity")),
    "kid": ("features", ("kid",)),
    "fidelity": ("features", ("precision", "recall", "density", "coverage")),
    "diversity": ("features", ("diversity", "vendi")),
    "inception_score": ("scores", ("inception_score",)),
    "recognition": ("classes", ("accuracy", "class_distance")),
    "sliced_wasserstein": ("points", ("sliced_wasserstein",)),
    "mmd": ("points", ("mmd",)),
    "spectrum": ("signals", ("detail", "spectrum")),
    "marginal": ("values", ("marginal", "contrast")),
    "memorization": ("values", ("copies", "nearest", "favour")),
}
NAMES = tuple(name for _, names in FAMILIES.values() for name in names)
POINTS = 16  # axes: what has fewer is a point, not a picture
LEAST = 2000  # features of the reference that kernels are averaged over, or four times as many as there are samples
SEEN = 10_000  # items of the reference whose values are measured one by one


@runtime_checkable
class Scorer(Features, Protocol):
    """Features that come from a classifier."""

    def probabilities(self, rows: Tensor) -> Tensor:
        """Of each class, (B, K), where the features are these rows, (B, D)."""
        ...


@dataclass(frozen=True)
class Yard:
    """What samples are measured against.

    Args:
        real: The data.
        reference: Their features.
        features: That are compared.
        judge: The data's own classifier.
        count: Samples that are compared with as many of the reference where the size of a set matters.
        wanted: Names of numbers, or of families of them; None for all.
    """

    real: Real
    reference: Reference
    features: Features
    judge: Classifier | None
    count: int
    wanted: Collection[str] | None = None

    @property
    def scorer(self) -> Scorer | None:
        """Whose probabilities make the Inception score: the features', if they are a classifier's, else the data's own."""
        return self.features if isinstance(self.features, Scorer) else self.judge

    def wants(self, family: str) -> bool:
        """Whether a family of numbers was asked for, and these data have it."""
        of, names = FAMILIES[family]
        shape = self.real.train["x"].shape[1:]
        there = {
            "classes": self.judge is not None,
            "scores": self.scorer is not None,
            "points": shape.numel() <= POINTS,
            "signals": len(shape) > 1 and max(shape[1:]) >= 4,
        }.get(of, True) and (family != "memorization" or self.real.held_out is not None)
        return there and (self.wanted is None or bool({family, *names} & set(self.wanted)))


class Board:
    """The metrics of one set of samples.

    Args:
        yard: What they are measured against.
        asked: The class that each was asked for, (N,), where that is known; the null is none.
        chosen: The classes were asked for otherwise than the data have them: their shares are those asked for.
        leave: Families of numbers that are not taken.
    """

    def __init__(self, yard: Yard, asked: Tensor | None = None, *, chosen: bool = False, leave: Collection[str] = ()) -> None:
        self.yard, self.n, self.asked = yard, 0, asked
        rows, seen = yard.reference.rows, yard.real.train["x"][:SEEN]
        held_out = yard.real.held_out
        make: dict[str, Callable[[], Metric]] = {
            "frechet": lambda: metric.Frechet(yard.reference.moments),
            "kid": lambda: metric.KernelDistance(rows[: max(4 * yard.count, LEAST)]),
            "fidelity": lambda: metric.Fidelity(rows, yard.count),
            "diversity": lambda: metric.Diversity(rows),
            "inception_score": metric.InceptionScore,
            "recognition": lambda: metric.Recognition(expected(yard, asked if chosen else None)),
            "sliced_wasserstein": lambda: metric.SlicedWasserstein(seen),
            "mmd": lambda: metric.Discrepancy(seen),
            "spectrum": lambda: metric.Spectrum(seen),
            "marginal": lambda: metric.Marginals(seen),
            "memorization": lambda: metric.Memorization(yard.real.train["x"], held_out["x"]),  # type: ignore[index]
        }
        self.metrics = {family: make[family]() for family in FAMILIES if yard.wants(family) and family not in leave}

    def update(self, x: Tensor) -> None:
        """See the next samples."""
        asked = None if self.asked is None else self.asked[self.n : self.n + len(x)]
        self.n += len(x)
        taken = {"values": x, "signals": x, "points": x} | self._answers(x)
        for family, one in self.metrics.items():
            part = taken[FAMILIES[family][0]]
            if isinstance(one, metric.Recognition):
                one.update(part, asked)
            else:
                one.update(part)

    def _answers(self, x: Tensor) -> dict[str, Tensor]:
        """What networks say of samples; each looks at them once."""
        yard, rows = self.yard, dict[int, Tensor]()

        def seen(by: Features) -> Tensor:
            return rows[id(by)] if id(by) in rows else rows.setdefault(id(by), by.features(x))

        answers = {}
        if self._takes("features"):
            answers["features"] = seen(yard.features)
        if yard.judge is not None and self._takes("classes"):
            answers["classes"] = yard.judge.probabilities(seen(yard.judge)).argmax(1)
        if yard.scorer is not None and self._takes("scores"):
            answers["scores"] = yard.scorer.probabilities(seen(yard.scorer))
        return answers

    def _takes(self, of: str) -> bool:
        return any(FAMILIES[family][0] == of for family in self.metrics)

    def estimate(self) -> dict[str, Estimate]:
        """The numbers, by name."""
        found = {name: value for one in self.metrics.values() for name, value in one.estimate().items()}
        if "ratio" in found:
            found["nearest"] = found["ratio"]
        return {name: found[name] for name in NAMES if name in found}


def expected(yard: Yard, asked: Tensor | None) -> Tensor:
    """The shares of the classes, (K,): as they were asked for, or else as the classifier finds them in the data."""
    assert yard.judge is not None
    k = yard.judge.classes
    known = asked[asked < k] if asked is not None else torch.zeros(0)
    found = known if len(known) else yard.judge.predict(yard.real.train["x"][:SEEN])
    return torch.bincount(found.long(), minlength=k).double() / len(found)
