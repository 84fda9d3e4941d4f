"""Classifier-free guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unnoise.guidance.base import Interval, checked
from unnoise.guidance.contrast import Away


@dataclass(frozen=True)
class CFG(Away):
    """Classifier-free guidance: away from what the network believes without the condition.

        x0 = null + scale (cond - null)

    Two evaluations an answer, made in one batch; one at scale 1 and outside of the interval.

    Args:
        scale: 1 is no guidance, 0 forgets the condition.
        interval: The noise levels sigma / alpha at which it guides, above the first and up to the second number; None: all.
        rescale: Share in [0, 1] by which the deviation of a sample's x0 is brought back to that of `cond`.
        away: Conditions to move away from in place of none, as `cond` takes them: a negative prompt.

    Raises:
        ValueError: For an interval that holds nothing, or a share outside of [0, 1].

    Reference: Ho & Salimans, Classifier-Free Diffusion Guidance, 2022, eq. 6 (whose w is scale - 1), arXiv:2207.12598;
    Kynkaanniemi et al., 2024 (interval), arXiv:2404.07724; Lin et al., Common Diffusion Noise Schedules and Sample Steps are
    Flawed, 2023, eq. 15-16 (rescale, there of the network's output), arXiv:2305.08891
    """

    scale: float = 1.0
    interval: Interval = None
    rescale: float = 0.0
    away: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", checked(self.interval))
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"rescale = {self.rescale:g}; expected a share in [0, 1]")

    def move(self, x0: Tensor, other: Tensor) -> Tensor:
        guided = torch.lerp(other, x0, self.scale)
        return torch.lerp(guided, _deviating(guided, like=x0), self.rescale) if self.rescale else guided


def _deviating(x0: Tensor, like: Tensor) -> Tensor:
    """Each sample scaled so that its values deviate as much as those of `like`."""
    std, wanted = (x.flatten(1).std(1, correction=0).reshape(-1, *(1,) * (x.ndim - 1)) for x in (x0, like))
    return torch.where(std > 0, wanted / std, 1) * x0
