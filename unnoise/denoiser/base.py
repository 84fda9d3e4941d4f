"""A denoiser answers one question: what is x, given x_t? Its answer is the posterior mean E[x | x_t]."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unnoise.condition import Conditions, complete
from unnoise.level import Level, index
from unnoise.prediction import Prediction
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, expand

Time = float | Tensor  # one time for all samples, or (B,)


class Answer(NamedTuple):
    """What a denoiser says of x_t.

    Attributes:
        x0: E[x | x_t], of x_t's shape.
        raw: x0 before any clipping, where there was some.
        variance: The learned variance's fraction, (B, C, ...) in about [-1, 1], of networks that have it.
        score: A gradient of guidance that the sampler itself applies to its mean, where there is one.
        nfe: Evaluations of denoising networks that it took, each of a whole batch.
    """

    x0: Tensor
    raw: Tensor | None = None
    variance: Tensor | None = None
    score: Tensor | None = None
    nfe: int = 1


@runtime_checkable
class Denoise(Protocol):
    """Whatever answers E[x | x_t]: a network, a guided one, or a closed form."""

    schedule: Schedule
    conds: Conditions  # what it takes besides x_t and t

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor: ...

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer: ...

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor: ...


def times(t: Time, batch: int) -> Tensor:
    """t as a float64 tensor on the CPU, (B,): what schedules take."""
    t = torch.as_tensor(t, dtype=torch.float64, device="cpu")
    return t.expand(batch) if t.ndim == 0 else t


class Denoiser(nn.Module):
    """A network made into E[x | x_t] by its prediction.

        D(x_t) = c_skip x_t + c_out F(c_in x_t, level, cond)

    Args:
        network: F; takes (x, level, cond) and returns x's shape, or twice its channels where it learns a variance.
        schedule: The noising that it was, or will be, trained on.
        predict: What F means (see `unnoise.prediction`).
        level: What F is told of the noise, from (schedule, t).
        project: Onto the space where x lives, where that is not everything (zero centre of mass, wrapped angles).

    Raises:
        ValueError: If the schedule ends without signal and the prediction divides by it.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        predict: Prediction,
        level: Level = index,
        project: Callable[[Tensor, Cond | None], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.schedule, self.predict, self.level = network, schedule, predict, level
        self._project = project
        self.conds: Conditions = getattr(network, "conds", {})
        if not all(c.isfinite().all() for c in predict(*schedule(torch.ones(1, dtype=torch.float64)))):
            name = getattr(predict, "__name__", repr(predict))
            raise ValueError(
                f"prediction {name!r} divides by alpha, which is 0 at the end of {schedule!r}; use v, flow, x0 or edm"
            )

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return self._project(x, cond) if self._project else x

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        t = times(t, len(x_t))
        c_skip, c_out, c_in = (
            expand(c.to(x_t.device, x_t.dtype, non_blocking=True), x_t) for c in self.predict(*self.schedule(t))
        )
        level = self.level(self.schedule, t).to(x_t.device, x_t.dtype, non_blocking=True)
        output = self.network(c_in * x_t, level, complete(self.conds, cond, len(x_t), x_t.device))
        variance = None
        if getattr(self.network, "variance", False):
            output, variance = output.chunk(2, 1)
        x0 = self.project(c_skip * x_t + c_out * output, cond)
        return Answer(x0, variance=variance)

    def forward(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0
