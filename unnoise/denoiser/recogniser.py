"""Of what class x is, given x_t: log p(class | x_t), learned from noised data or in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from unnoise.condition import Condition, Conditions
from unnoise.denoiser.base import Time, times
from unnoise.level import Level, index
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, expand


@runtime_checkable
class Recognise(Protocol):
    """Whatever tells classes from noised data: a network, or a mixture in closed form."""

    schedule: Schedule
    conds: Conditions  # the one condition whose classes these are

    def log_class(self, x_t: Tensor, t: Time) -> Tensor:
        """log p(class | x_t), (B, K)."""
        ...


class Recogniser(nn.Module):
    """A network of logits made into log p(class | x_t), at every noise level.

        log softmax F(c_in x_t, level),   c_in = (alpha^2 + sigma^2)^(-1/2)

    Args:
        network: F; takes (x, level) and returns (B, K). See `unnoise.network.Classifier`.
        schedule: The noising that it was, or will be, trained on.
        name: Of the condition that it recognises.
        condition: Its K classes.
        level: What F is told of the noise, from (schedule, t).
        project: As for `Denoiser`.

    Reference: Dhariwal & Nichol, Diffusion Models Beat GANs, 2021, section 4. arXiv:2105.05233
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        name: str,
        condition: Condition,
        level: Level = index,
        project: Callable[[Tensor, Cond | None], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.schedule, self.level, self._project = network, schedule, level, project
        self.conds: Conditions = {name: replace(condition, drop=0.0)}  # what is to be learnt is never dropped

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return self._project(x, cond) if self._project else x

    def log_class(self, x_t: Tensor, t: Time) -> Tensor:
        t = times(t, len(x_t))
        alpha, sigma = self.schedule(t)
        c_in = (alpha**2 + sigma**2).rsqrt().to(x_t.device, x_t.dtype, non_blocking=True)
        level = self.level(self.schedule, t).to(x_t.device, x_t.dtype, non_blocking=True)
        return self.network(expand(c_in, x_t) * x_t, level).log_softmax(1)

    def forward(self, x_t: Tensor, t: Time) -> Tensor:
        return self.log_class(x_t, t)
