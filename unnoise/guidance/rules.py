"""Classifier-free guidance and clipping."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.condition import nulls
from unnoise.denoiser import Answer, Denoise, Time, times
from unnoise.guidance.base import Guidance
from unnoise.tensor import Cond


@dataclass(frozen=True)
class CFG(Guidance):
    """Classifier-free guidance: away from what the network believes without the condition.

        x0 = null + scale (cond - null)

    Two evaluations an answer, made in one batch; one at scale 1.

    Args:
        scale: 1 is no guidance, 0 forgets the condition.

    Reference: Ho & Salimans, Classifier-Free Diffusion Guidance, 2022, eq. 6 (whose w is scale - 1). arXiv:2207.12598
    """

    scale: float = 1.0

    def evaluations(self, inner: int) -> int:
        return inner if self.scale == 1 else 2 * inner

    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        if self.scale == 1:
            return denoise.answer(x_t, t, cond)
        cond, batch = dict(cond or {}), len(x_t)
        null = {**cond, **nulls(denoise.conds, batch, x_t.device)}
        both = {name: torch.cat([cond.get(name, absent), absent]) for name, absent in null.items()}
        answer = denoise.answer(torch.cat([x_t, x_t]), times(t, batch).repeat(2), both)
        with_cond, without = answer.x0.chunk(2)
        x0 = torch.lerp(without, with_cond, self.scale)
        return Answer(x0, *(field if field is None else field[:batch] for field in answer[1:]))


@dataclass(frozen=True)
class Clip(Guidance):
    """x0 brought back into the range of the data, as the papers on pictures do at every step; `raw` keeps what it was.

    Reference: Ho et al. 2020, reference code; Saharia et al., Imagen, 2022, section 2.3 (static thresholding). arXiv:2205.11487
    """

    low: float = -1.0
    high: float = 1.0

    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        answer = denoise.answer(x_t, t, cond)
        return answer._replace(x0=answer.x0.clamp(self.low, self.high), raw=answer.x0)
