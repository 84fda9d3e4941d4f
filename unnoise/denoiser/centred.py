"""A denoiser that knows a measurement of x, and looks for the rest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unnoise.condition import complete
from unnoise.denoiser.base import Answer, Denoiser, Time, times
from unnoise.level import Level, index
from unnoise.operator.shown import Shown
from unnoise.prediction import Prediction
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, expand


class Centred(Denoiser):
    """E[x | x_t, y] around what is seen of x, and made to agree with it.

        D(x_t) = P(c + c_skip r_t + c_out F(c_in r_t, level, cond)),   r_t = x_t - alpha c

    with the centre c = A^+ y and P(x0) = x0 + A^+ (y - A x0) (none where y is noisy: see `operator.Shown`). Nothing is lost by
    either: r_t is the noised rest x - c, and E[x | x_t, y] agrees with y. The network predicts the rest alone, whose deviation
    is a fraction of that of x, and the fresh one answers A^+ y, the baseline.

    Args:
        network, schedule, predict, level, project: As those of `Denoiser`; a `sigma_data` of the prediction is the rest's.
        shown: What is seen of x.

    Reference: the rest as what is noised: Li et al., SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models,
    2021, section 3.2, arXiv:2104.14951; P: Wang et al. 2023, eq. 9, arXiv:2212.00490
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        predict: Prediction,
        level: Level = index,
        project: Callable[[Tensor, Cond | None], Tensor] | None = None,
        *,
        shown: Shown,
    ) -> None:
        super().__init__(network, schedule, predict, level, project)
        self.shown = shown

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        t = times(t, len(x_t))
        cond = complete(self.conds, cond, len(x_t), x_t.device)
        alpha = expand(self.schedule(t)[0].to(x_t.device, x_t.dtype, non_blocking=True), x_t)
        with torch.autocast(x_t.device.type, enabled=False):  # what is known is known exactly
            centre = self.shown.centre(x_t, cond)
        rest = super().answer(x_t - alpha * centre, t, cond)
        with torch.autocast(x_t.device.type, enabled=False):
            return rest._replace(x0=self.shown.consistent(centre + rest.x0, centre, cond))
