"""The weighted error of the denoiser: what nearly every diffusion model is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from unnoise.denoiser import Denoiser
from unnoise.loss.base import Batch, Noised, Weight, frozen, log_snr_rate, noised
from unnoise.loss.pairing import Paired
from unnoise.loss.times import Law, Uniform, weighed
from unnoise.loss.uncertainty import Uncertainty
from unnoise.loss.weights import plain
from unnoise.schedule import Schedule
from unnoise.tensor import Rng, expand, masked_mean

Error = Callable[[Tensor], Tensor]


def square(difference: Tensor) -> Tensor:
    """d^2 (L2)."""
    return difference**2


def absolute(difference: Tensor) -> Tensor:
    """|d| (L1). Reference: Saharia et al., Palette, 2022, section 3 (compares L1 and L2). arXiv:2111.05826"""
    return difference.abs()


@dataclass(frozen=True)
class Huber:
    """d^2 up to delta, then the straight line that goes on from there, 2 delta |d| - delta^2.

    Reference: Huber, Robust Estimation of a Location Parameter, 1964.
    """

    delta: float = 1.0

    def __call__(self, difference: Tensor) -> Tensor:
        size = difference.abs()
        return torch.where(size <= self.delta, size**2, 2 * self.delta * size - self.delta**2)


@dataclass(frozen=True)
class Denoising:
    """The weighted error of the denoised data, one random time a sample.

        loss = mean error(sqrt(weight(t)) (D(alpha_t x + sigma_t eps, t) - x))

    `weight = "snr"` with `per = "log_snr"` is the likelihood's weighting: half its mean over t is the continuous-time bound,
    whatever the schedule between its ends is; a learned schedule is then led to where the loss varies least.

    Args:
        weight: Of the squared error of x0 at (alpha, sigma, c_out).
        times: The law of t.
        error: `square`, `absolute` or `Huber`, of what the weight leaves (with `plain`, of what the network predicts).
        per: "log_snr" multiplies by -d log_snr / dt, so that uniform times count every unit of log-SNR the same.
        offset: Of offset noise (0: none), in training alone; `codec.Offset` has its law in walks too.
        pairing: Which noise goes with which x of a batch (None: as they were drawn).
        uncertainty: Balances the levels by what is learnt of their losses.

    Reference: Ho et al. 2020, eq. 14 and algorithm 1, arXiv:2006.11239; likelihood weighting: Song et al., Maximum Likelihood
    Training of Score-Based Diffusion Models, 2021, theorem 1, arXiv:2101.09258; per log-SNR and learned schedules: Kingma et al.,
    Variational Diffusion Models, 2021, eq. 17-18 and appendix I.2, arXiv:2107.00630
    """

    weight: Weight = plain
    times: Law = field(default_factory=Uniform)
    error: Error = square
    per: Literal["t", "log_snr"] = "t"
    offset: float = 0.0
    uncertainty: Uncertainty | None = None
    pairing: Paired | None = None

    def __call__(self, model: Denoiser, batch: Batch, rng: Rng) -> Tensor:
        schedule = model.schedule
        t = self.times(schedule, rng)
        losses = self._of(model, noised(model, batch, t, rng, self.offset, self.pairing))
        if self.per == "log_snr":
            losses = calmed(schedule, t, losses)
        if self.uncertainty:
            losses = self.uncertainty(schedule, t, losses)
        return weighed(self.times, schedule, t, losses)

    def at(self, model: Denoiser, batch: Batch, t: Tensor, rng: Rng) -> Tensor:
        """The losses at given times, (B,), without weights that are learnt or drawn."""
        return self._of(model, noised(model, batch, t, rng, self.offset))

    def _of(self, model: Denoiser, at: Noised) -> Tensor:
        with frozen(model.schedule):
            x0 = model(at.x_t, at.t, at.cond)
        return masked_mean(self.errors(model, at, x0), at.mask)

    def errors(self, model: Denoiser, at: Noised, x0: Tensor) -> Tensor:
        """The error of the answer x0 in every place, weighted, of x's shape."""
        schedule = model.schedule
        alpha, sigma = (c.detach() for c in schedule(at.t))
        root = self.weight(alpha, sigma, model.predict(alpha, sigma)[1]).sqrt()
        errors = self.error(_over(root, at.x) * (x0 - at.x))
        return _over(log_snr_rate(schedule, at.t), at.x) * errors if self.per == "log_snr" else errors


def calmed(schedule: Schedule, t: Tensor, losses: Tensor) -> Tensor:
    """The losses, with a gradient for a learned schedule, and none of it in their value, to where they vary least.

    The loss per unit of log-SNR is no affair of the schedule; the times are. So the mean of losses^2 is an integral over
    log_snr of |d log_snr / dt| at fixed log_snr, and d(losses^2) = losses^2 d log |d log_snr / dt|.

    Reference: Kingma et al. 2021, appendix I.2 (there by the gradient of losses^2 through the network). arXiv:2107.00630
    """
    if not (isinstance(schedule, nn.Module) and torch.is_grad_enabled() and any(p.requires_grad for p in schedule.parameters())):
        return losses
    log_snr, slope = _slope(schedule, t.detach().requires_grad_())
    same = t + (log_snr.detach() - log_snr) / slope.detach()  # is t; moves with the parameters so that log_snr stays
    share = losses.detach().square()
    cost = (share / share.mean()) * _slope(schedule, same)[1].abs().log().to(losses)
    return losses + (cost - cost.detach())


def _slope(schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
    """log_snr and its derivative by t, both with gradients."""
    log_snr = schedule.log_snr(t)
    return log_snr, torch.autograd.grad(log_snr.sum(), t, create_graph=True)[0]


def _over(c: Tensor, x: Tensor) -> Tensor:
    return expand(c.to(x.device, x.dtype, non_blocking=True), x)
