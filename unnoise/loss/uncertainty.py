"""How sure of each level: a learned logarithm of the loss to be expected there."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unnoise.level import c_noise
from unnoise.schedule import Schedule
from unnoise.tensor import Rng


class Uncertainty(nn.Module):
    """Balances the levels by what is learnt of their losses: each loss becomes one of its own size.

        loss <- exp(-u) loss + u;   u(t) = w . sqrt(2) cos(2 pi (f c_noise(t) + phase))

    At its least exp(u) is the mean loss at t, so that every level gives gradients of the same size. w starts at 0: no change.

    Args:
        width: Of w; the frequencies f are normal and the phases uniform, both fixed.

    Reference: Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models, 2024, section 2.2 and appendix B,
    arXiv:2312.02696; Kendall et al., Multi-Task Learning Using Uncertainty, 2018, eq. 7, arXiv:1705.07115
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.register_buffer("frequencies", Rng(0).normal((width,), "frequencies")[0])
        self.register_buffer("phases", Rng(0).uniform((width,), "phases")[0])
        self.weight = nn.Parameter(torch.zeros(width))

    def log_loss(self, schedule: Schedule, t: Tensor) -> Tensor:
        """u, (B,)."""
        level = c_noise(schedule, t).detach().to(self.weight)
        angles = 2 * math.pi * (level[:, None] * self.frequencies + self.phases)
        return math.sqrt(2) * angles.cos() @ self.weight

    def forward(self, schedule: Schedule, t: Tensor, losses: Tensor) -> Tensor:
        u = self.log_loss(schedule, t)
        return (-u).exp() * losses + u
