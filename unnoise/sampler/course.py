"""A walk that is kept: its moments, and in a notebook the strip of pictures that it went through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from unnoise.sampler.base import Moment

COLUMNS, ROWS = 10, 2


class Course(list[Moment]):
    """The moments of a walk: `Course(sampler.walk(...))`, or the empty one that `Model.sample(callback=course.append)` fills.

    In a notebook it shows some moments of its first samples, from left to right: above x, what the walk stood at; below x0, what
    it expected of its end there. Samples that are no pictures have no strip, and show their times.

    Args:
        moments: As `Sampler.walk` gives them.
        shape: Of one sample, where its pictures are walked as rows of numbers.
    """

    def __init__(self, moments: Iterable[Moment] = (), shape: Sequence[int] | None = None) -> None:
        super().__init__(moments)
        self.shape = shape

    def _repr_html_(self) -> str:
        """The strip."""
        from unnoise import show

        if not self:
            return "<em>no moments</em>"
        places = sorted({round(k) for k in torch.linspace(0, len(self) - 1, COLUMNS).tolist()})
        chosen = [self[k] for k in places]
        head = f"{len(self)} moments, t = " + ", ".join(f"{moment.t:.2g}" for moment in chosen)
        first = self._samples(chosen[0].x)
        if first.ndim != 4:
            return show.table("a walk", {"moments": len(self), "of samples": tuple(first.shape[1:]), "ends at t": self[-1].t})
        rows = []
        for i in range(min(ROWS, len(first))):
            states, ends = (
                torch.stack([self._samples(x)[i] for x in part]) for part in zip(*((m.x, m.x0) for m in chosen), strict=True)
            )
            rows += [states / states.flatten(1).std(1).clamp(min=1).view(-1, 1, 1, 1), ends]
        return f"<div>{show.strip(rows, head)}<br><small>{head}</small></div>"

    def _samples(self, x: Tensor) -> Tensor:
        return x if self.shape is None else x.reshape(-1, *self.shape)
