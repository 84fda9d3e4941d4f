"""Guidance by contrast: away from a worse belief, along the line from it through the better one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unnoise.condition import nulls, rows
from unnoise.denoiser import Answer, Denoise, Time, times
from unnoise.guidance.base import Guidance, Interval, within
from unnoise.tensor import Cond, expand


class Contrast(Guidance):
    """The answer, moved away from another one; by itself at scale 1 and outside of the interval."""

    scale: float
    interval: Interval

    @abstractmethod
    def pair(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> tuple[Answer, Tensor]:
        """The answer, with the evaluations of both, and the x0 to move away from."""

    @abstractmethod
    def move(self, x0: Tensor, other: Tensor) -> Tensor:
        """The guided x0."""

    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        guided = within(self.interval, denoise.schedule, t, len(x_t))
        if self.scale == 1 or not guided.any():
            return denoise.answer(x_t, t, cond)
        answer, other = self.pair(denoise, x_t, t, cond)
        x0 = self.move(answer.x0, other)
        if not guided.all():
            x0 = torch.where(expand(guided.to(x0.device), x0), x0, answer.x0)
        return answer._replace(x0=x0)


class Away(Contrast):
    """The other belief is the denoiser's own without the condition, or given another one (`away`)."""

    away: Mapping[str, Any] | None

    def pair(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> tuple[Answer, Tensor]:
        cond, batch = dict(cond or {}), len(x_t)
        null = {**cond, **nulls(denoise.conds, batch, x_t.device)}
        both = {name: torch.cat([cond.get(name, absent), absent]) for name, absent in (null | self._away(denoise, x_t)).items()}
        answer = denoise.answer(torch.cat([x_t, x_t]), times(t, batch).repeat(2), both)
        kept = {name: field[:batch] for name, field in answer._asdict().items() if isinstance(field, Tensor)}
        return answer._replace(**kept, nfe=2 * answer.nfe), answer.x0[batch:]

    def _away(self, denoise: Denoise, x_t: Tensor) -> dict[str, Tensor]:
        """The conditions to move away from, for each sample."""
        found = {}
        for name, value in (self.away or {}).items():
            if name not in denoise.conds:
                raise ValueError(f"away = {self.away}: the model takes no condition {name!r}")
            found[name] = rows(name, denoise.conds[name], value, len(x_t)).to(x_t.device)
        return found
