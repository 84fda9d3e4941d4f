"""A schedule that is trained with the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unnoise.schedule.base import Schedule


class Learned(Schedule, nn.Module):
    """Variance preserving, with a log-SNR that is a monotone network of t: falling strictly whatever its parameters are.

        log_snr_t = start + (end - start) (f(t) - f(0)) / (f(1) - f(0));  f(t) = w1 t + w3 sigmoid(w2 t + b2), w > 0

    Its ends are given; with the discrete or continuous bound for a loss only they matter, and the curve between is free to
    lower the loss's variance. Being a module, it is trained and saved with the denoiser whose schedule it is.

    Args:
        width: Of the hidden layer.
        log_snr_max, log_snr_min: At t = 0 and t = 1.

    Reference: Kingma et al., Variational Diffusion Models, 2021, appendix H (monotonic network). arXiv:2107.00630
    """

    def __init__(self, width: int = 1024, log_snr_max: float = 13.3, log_snr_min: float = -5.0) -> None:
        nn.Module.__init__(self)
        self.log_snr_max, self.log_snr_min = log_snr_max, log_snr_min
        self.straight = nn.Parameter(torch.zeros(1))  # log weights: a weight is the exponential of one
        self.inner = nn.Parameter(torch.linspace(-1, 3, width))
        self.outer = nn.Parameter(torch.full((width,), -8.0))
        self.bias = nn.Parameter(torch.linspace(2, -10, width))

    def log_snr(self, t: Tensor) -> Tensor:
        low, high = self._rise(torch.zeros_like(t)), self._rise(torch.ones_like(t))
        return self.log_snr_max + (self.log_snr_min - self.log_snr_max) * (self._rise(t) - low) / (high - low)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_snr = self.log_snr(t)
        return log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()

    def _rise(self, t: Tensor) -> Tensor:
        straight, inner, outer, bias = (p.to(t) for p in (self.straight, self.inner, self.outer, self.bias))
        return straight.exp() * t + torch.sigmoid(t[..., None] * inner.exp() + bias) @ outer.exp()
