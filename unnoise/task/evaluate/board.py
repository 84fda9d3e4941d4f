"""All metrics of one evaluation: each block of samples goes through the features once, and to every metric that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

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
    "inception_score": ("classes", ("inception_score",)),
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

    def wants(self, family: str) -> bool:
        """Whether a family of numbers was asked for, and these data have it."""
        of, names = FAMILIES[family]
        shape = self.real.train["x"].shape[1:]
        there = {
            "classes": self.judge is not None,
            "points": shape.numel() <= POINTS,
            "signals": len(shape) > 1 and max(shape[1:]) >= 4,
        }.get(of, True) and (family != "memorization" or self.real.held_out is not None)
        return there and (self.wanted is None or bool({family, *names} & set(self.wanted)))


class Board:
    """The metrics of one set of samples.

    Args:
        yard: What they are measured against.
        asked: The class that each was asked for, (N,), where that is known; the null is none.
        leave: Families of numbers that are not taken.
    """

    def __init__(self, yard: Yard, asked: Tensor | None = None, leave: Collection[str] = ()) -> None:
        self.yard, self.n, self.asked = yard, 0, asked
        rows, seen = yard.reference.rows, yard.real.train["x"][:SEEN]
        held_out = yard.real.held_out
        make: dict[str, Callable[[], Metric]] = {
            "frechet": lambda: metric.Frechet(yard.reference.moments),
            "kid": lambda: metric.KernelDistance(rows[: max(4 * yard.count, LEAST)]),
            "fidelity": lambda: metric.Fidelity(rows, yard.count),
            "diversity": lambda: metric.Diversity(rows),
            "inception_score": metric.InceptionScore,
            "recognition": lambda: metric.Recognition(expected(yard, asked)),
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
        taken = {"values": x, "signals": x, "points": x}
        if any(FAMILIES[family][0] == "features" for family in self.metrics):
            taken["features"] = self.yard.features.features(x)
        p = None
        if self.yard.judge is not None and any(FAMILIES[family][0] == "classes" for family in self.metrics):
            p = self.yard.judge.probabilities(x)
        for family, one in self.metrics.items():
            if isinstance(one, metric.Recognition):
                one.update(p.argmax(1), asked)  # type: ignore[union-attr]
            elif isinstance(one, metric.InceptionScore):
                one.update(p)  # type: ignore[arg-type]
            else:
                one.update(taken[FAMILIES[family][0]])

    def estimate(self) -> dict[str, Estimate]:
        """The numbers, by name."""
        found = {name: value for one in self.metrics.values() for name, value in one.estimate().items()}
        if "ratio" in found:
            found["nearest"] = found["ratio"]
        return {name: found[name] for name in NAMES if name in found}


def expected(yard: Yard, asked: Tensor | None) -> Tensor:
    """The shares of the classes, (K,): as they were asked for, else as the classifier finds them in the data."""
    assert yard.judge is not None
    k = yard.judge.classes
    known = asked[asked < k] if asked is not None else torch.zeros(0)
    found = known if len(known) else yard.judge.predict(yard.real.train["x"][:SEEN])
    return torch.bincount(found.long(), minlength=k).double() / len(found)
