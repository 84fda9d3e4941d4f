"""What a network is told of the noise: a number for each sample, from the schedule and t."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from unnoise.schedule import Schedule, Table

Level = Callable[[Schedule, Tensor], Tensor]

FAR = 40.0  # of the log-SNR: past any level that data can tell apart; pure noise and clean data are told as this


def index(schedule: Schedule, t: Tensor, scale: float = 1.0) -> Tensor:
    """The entry of the schedule's table, 0 .. T - 1, as DDPM's networks take it; 1000 t - 1 without a table. Times scale."""
    return scale * (t * _steps(schedule) - 1)


def nearest(schedule: Schedule, t: Tensor) -> Tensor:
    """The nearest entry of the table, for networks that are told whole ones alone while the walk goes between them."""
    return index(schedule, t).round()


def rank(schedule: Schedule, t: Tensor) -> Tensor:
    """The entry counted from the noisiest, which is 0, as the discrete networks of Song & Ermon (2019) take it."""
    return _steps(schedule) * (1 - t)


def time(schedule: Schedule, t: Tensor, scale: float = 999.0) -> Tensor:
    """scale t. Reference: Song et al. 2021, reference code (with 999). arXiv:2011.13456"""
    return scale * t


def alpha(schedule: Schedule, t: Tensor, scale: float = 1000.0) -> Tensor:
    """scale alpha_t, for networks that are told the noise itself rather than a place in a chain.

    Reference: Saharia et al., Image Super-Resolution via Iterative Refinement, 2021, section 2.4 (there sqrt(gamma)).
    arXiv:2104.07636
    """
    return scale * schedule(t)[0]


def sigma(schedule: Schedule, t: Tensor) -> Tensor:
    """The noise scale itself. Reference: Song et al. 2021, reference code (variance exploding). arXiv:2011.13456"""
    return schedule(t)[1]


def log_snr(schedule: Schedule, t: Tensor) -> Tensor:
    """2 log(alpha / sigma), bounded. Reference: Kingma et al., Variational Diffusion Models, 2021, section 5. arXiv:2107.00630"""
    return schedule.log_snr(t).clamp(-FAR, FAR)


def c_noise(schedule: Schedule, t: Tensor) -> Tensor:
    """A quarter of log(sigma / alpha), bounded.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 1. arXiv:2206.00364
    """
    return log_snr(schedule, t) / -8


def _steps(schedule: Schedule) -> int:
    return len(schedule) if isinstance(schedule, Table) else 1000


__all__ = ["alpha", "c_noise", "index", "log_snr", "nearest", "rank", "sigma", "time"]
