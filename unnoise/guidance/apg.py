"""Adaptive projected guidance."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from unnoise.guidance.base import Interval, checked
from unnoise.guidance.contrast import Away


@dataclass(frozen=True)
class APG(Away):
    """Adaptive projected guidance: classifier-free guidance without the part that only makes colours stronger.

        d  = cond - null  (+ momentum d of the walk's evaluation before),   shortened to length `norm`
        x0 = cond + (scale - 1) (d across cond + parallel (d along cond))

    Along and across are projections, each sample's values as one vector. With parallel = 1, no norm and no momentum it is CFG.
    Evaluations as those of CFG. Outside a walk there is no evaluation before.

    Args:
        scale: 1 is no guidance.
        parallel: The share that is kept of d along `cond`; the paper's eta.
        norm: The largest length of d, in units of x0 over all values of a sample; the paper's r. None: any.
        momentum: Of d along the walk; the paper's beta, which it takes negative (-0.5): what repeats itself is damped.
        interval, away: As for CFG.

    Raises:
        ValueError: For an interval that holds nothing, or a norm that is not positive.

    Reference: Sadat et al., Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models, 2024,
    algorithm 1. arXiv:2410.02416
    """

    scale: float = 1.0
    parallel: float = 0.0
    norm: float | None = None
    momentum: float = 0.0
    interval: Interval = None
    away: Mapping[str, Any] | None = None
    past: list[Tensor] | None = field(default=None, init=False, repr=False, compare=False)  # d before, in a walk

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", checked(self.interval))
        if self.norm is not None and not self.norm > 0:
            raise ValueError(f"norm = {self.norm:g}; expected a positive length, or none")

    def begin(self) -> Self:
        if not self.momentum:
            return self
        begun = copy.copy(self)
        object.__setattr__(begun, "past", [])
        return begun

    def move(self, x0: Tensor, other: Tensor) -> Tensor:
        d = x0 - other
        if self.past is not None:
            d = d + self.momentum * self.past[0] if self.past else d
            self.past[:] = [d]
        flat, base = d.flatten(1), x0.flatten(1)
        if self.norm is not None:
            flat = flat * (self.norm / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
        unit = torch.nn.functional.normalize(base, dim=1)
        along = (flat * unit).sum(1, keepdim=True) * unit
        return x0 + (self.scale - 1) * (flat - (1 - self.parallel) * along).reshape(x0.shape)
