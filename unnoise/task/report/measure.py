"""The numbers of a report, and the few tensors that its figures show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unnoise.metric import Fidelity, Memorization, Moments, frechet, interval, nearest, share_interval
from unnoise.metric.features import Classifier, Pooled
from unnoise.task.evaluate.real import Real
from unnoise.task.report.walks import Walks

PAIRS = 8  # closest pairs shown
POOLED = 16  # side to which pictures are averaged where no classifier gives features


@dataclass(frozen=True)
class Recognition:
    """What the independent classifier says of the samples.

    Args:
        confusion: How often each class (rows) was recognised as each (columns), (K, K).
        real: Its accuracy on held-out data of each class, (K,); NaN where there are none.
    """

    confusion: Tensor
    real: Tensor

    @property
    def by_class(self) -> Tensor:
        """Share of each class's samples that are recognised as asked, (K,); NaN where none were asked."""
        return self.confusion.diagonal() / self.confusion.sum(1)


@dataclass(frozen=True)
class Neighbours:
    """Distances to the nearest training item in units of the held-out data's median, and the closest pairs."""

    samples: Tensor
    held_out: Tensor
    pairs: list[tuple[Tensor, Tensor, float]]


def recognise(by: Classifier, walks: Walks, real: Real) -> tuple[dict[str, Any], Recognition | None]:
    """Accuracy on samples beside that on held-out data; no recognition where no class was asked for."""
    numbers: dict[str, Any] = {}
    count, each = len(real.classes), torch.full((len(real.classes),), torch.nan)
    if real.held_out is not None:
        x, labels = real.labelled(real.held_out)
        hit = (by.predict(x) == labels).double()
        each = torch.stack([hit[labels == c].mean() for c in range(count)])
        numbers |= _share("accuracy_real", hit)
    if walks.asked is None:
        return numbers, None
    known = walks.asked < count
    asked, found = walks.asked[known], by.predict(walks.x[known])
    confusion = torch.bincount(asked * count + found, minlength=count**2).reshape(count, count).double()
    seen = Recognition(confusion, each)
    shares = dict(zip(real.classes, (None if s != s else s for s in seen.by_class.tolist()), strict=True))
    return numbers | _share("accuracy", (asked == found).double()) | {"accuracy_by_class": shares}, seen


def compare(by: Classifier | None, walks: Walks, real: Real) -> dict[str, Any]:
    """Frechet distance, precision and recall to one half of the training data, beside those of its other half."""
    halves = [real.train["x"][rows] for rows in real.halves]
    n = min(len(walks.x), len(halves[0]))
    reference, other, samples = (features(by, x[:n]) for x in (*halves, walks.x))
    space = "classifier" if by else "pixels" if walks.x.ndim == 4 else "values"
    numbers: dict[str, Any] = {"features": space, "compared": n}
    for suffix, x in (("", samples), ("_real", other)):
        fidelity = Fidelity(reference)
        fidelity.update(x)
        numbers |= {f"{name}{suffix}": value for name, value in fidelity.compute().items()}
        numbers[f"frechet{suffix}"] = frechet(Moments(reference), Moments(x))
    return numbers


def features(by: Classifier | None, x: Tensor) -> Tensor:
    """What sets are compared by: the classifier's last layer, or the values themselves, pictures averaged to 16 x 16."""
    return (by or Pooled(POOLED)).features(x)


def memory(walks: Walks, real: Real) -> tuple[dict[str, Any], Neighbours | None]:
    """Is a sample nearer to the training data than a new item is?"""
    if real.held_out is None:
        return {}, None
    data = real.train["x"]
    metric = Memorization(data, real.held_out["x"])
    metric.update(walks.x)
    numbers: dict[str, Any] = metric.compute()
    (distance, index), (fresh, _) = nearest(walks.x, data), nearest(real.held_out["x"], data)
    median = fresh.median().clamp(min=1e-12)
    numbers["ratio_interval"] = interval(distance / median, torch.median, resamples=400)
    closest = distance.argsort()[:PAIRS]
    pairs = [(walks.x[i], data[index[i]], float(distance[i] / median)) for i in closest]
    return numbers, Neighbours(distance / median, fresh / median, pairs)


def _share(name: str, hit: Tensor) -> dict[str, Any]:
    return {name: float(hit.mean()), f"{name}_interval": share_interval(int(hit.sum()), len(hit)), f"{name}_n": len(hit)}
