"""Between two conditions."""

from __future__ import annotations

import torch
from torch import Tensor

from unnoise.condition import Conditions
from unnoise.denoiser.base import Answer, Denoise, Time
from unnoise.tensor import Cond, expand


class Blended:
    """A denoiser that is told one thing and, by a share u, another.

        x0 = (1 - u) E[x | x_t, cond] + u E[x | x_t, other]

    whose score is that of p(x_t | cond)^(1 - u) p(x_t | other)^u, brought to sum 1: at the ends either law, between them what
    both would call likely. Two evaluations in place of one.

    Args:
        denoiser: Told by the walk, as ever; guidance belongs within.
        other: All conditions of the other end, a row for each sample.
        share: u of each sample, (B,), in [0, 1].
    """

    def __init__(self, denoiser: Denoise, other: Cond, share: Tensor) -> None:
        self.denoiser, self.schedule = denoiser, denoiser.schedule
        self.conds: Conditions = denoiser.conds
        self.other, self.share = other, share
        self.second = denoiser

    def begin(self) -> Blended:
        """The same for one walk: what guidance remembers is that of one condition."""
        begun = Blended(_begun(self.denoiser), self.other, self.share)
        begun.second = _begun(self.denoiser)
        return begun

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return self.denoiser.project(x, cond)

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        here, there = self.denoiser.answer(x_t, t, cond), self.second.answer(x_t, t, self.other)
        share = expand(self.share.to(x_t), x_t)
        mixed = {
            name: torch.lerp(a, b, share)
            for name, a, b in zip(here._fields, here, there, strict=True)
            if isinstance(a, Tensor) and isinstance(b, Tensor)
        }
        return here._replace(nfe=here.nfe + there.nfe, **mixed)

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


def _begun(denoiser: Denoise) -> Denoise:
    begin = getattr(denoiser, "begin", None)
    return begin() if begin else denoiser
