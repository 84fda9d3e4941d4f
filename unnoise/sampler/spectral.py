"""Walks in the coordinates of an operator's singular vectors: DDRM and DDNM.

With A = U S V^T, V^T x of a state x, and y~ = U^T y / s, a coordinate's measurement is y~ = x + (std / s) eps: known to its own
noise, and unknown where s = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.operator import Measurement, Spectrum
from unnoise.sampler.base import Path, Sampler, Walk, path
from unnoise.sampler.known import overwritten
from unnoise.schedule import Schedule


@dataclass(frozen=True, eq=False)
class DDRM(Sampler):
    """Denoising diffusion restoration model. In units of x_s / alpha_s, ratio = sigma_s / alpha_s, a coordinate is drawn from

        N(x0 + sqrt(1 - eta^2) ratio eps, (eta ratio)^2)                         not measured
        N(x0 + sqrt(1 - eta^2) ratio s (y~ - x0) / std, (eta ratio)^2)           measured, ratio < std / s
        N((1 - eta_b) x0 + eta_b y~, ratio^2 - (eta_b std / s)^2)                measured, ratio >= std / s

    One evaluation a step; not exact for any number of them (order 0).

    Args:
        measured: Of a linear operator that tells its singular values.
        eta: Share of fresh noise where y tells nothing, or less than x_t.
        eta_b: Share of y~ where it tells more.

    Raises:
        ValueError: In a walk, if the operator tells no singular values.

    Reference: Kawar et al., Denoising Diffusion Restoration Models, 2022, eq. 7-8. arXiv:2201.11793
    """

    measured: Measurement
    eta: float = 0.85
    eta_b: float = 1.0

    order = 0
    stochastic = True

    def __post_init__(self) -> None:
        if not (0 <= self.eta <= 1 and 0 <= self.eta_b <= 1):
            raise ValueError(f"DDRM: eta and eta_b must lie in [0, 1], given {self.eta:g} and {self.eta_b:g}")

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Path:
        return path(schedule, times)

    def start(self, walk: Walk, x: Tensor) -> Tensor:
        spectrum_of(self.measured, x)
        at: Path = walk.plan
        return overwritten(self.measured, x, at.alpha[0], at.sigma[0], walk.noise(x, at.t[0], at.t[0]))

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        at: Path = walk.plan
        x0 = walk.denoise(x_t, at.t[k])
        spectrum = spectrum_of(self.measured, x_t)
        ratio, kept = at.sigma[k + 1] / at.alpha[k + 1], (1 - self.eta**2) ** 0.5
        own = self.measured.std * spectrum.inverse
        mean, seen = spectrum.into(x0), spectrum.seen(self.measured.value(x_t)) * spectrum.inverse
        eps = spectrum.into(x_t.sub(x0, alpha=at.alpha[k]) / at.sigma[k])
        toward = torch.where(spectrum.known, (seen - mean) / own.clamp(min=1e-20), eps)
        clear = spectrum.known & (own <= ratio)
        mean = torch.where(clear, mean + self.eta_b * (seen - mean), mean + kept * ratio * toward)
        std = torch.where(clear, (ratio**2 - (self.eta_b * own) ** 2).clamp(min=0).sqrt(), self.eta * ratio)
        return spectrum.back(mean + std * spectrum.into(walk.noise(x_t, at.t[k], at.t[k + 1]))) * at.alpha[k + 1]


@dataclass(frozen=True, eq=False)
class DDNM(Sampler):
    """Denoising diffusion null-space model: the ancestral sampler with x0 made to agree with the measurement.

        x_s = c_x (x0 + lam (y~ - x0)) + c_t x_t + sqrt(std_s^2 - (c_x lam std / s)^2) noise
        lam = min(1, std_s s / (c_x std))

    with the posterior's c_x, c_t and std_s: y's own noise takes the place of a part of the step's. One evaluation a step; not
    exact for any number of them (order 0). An operator that tells no singular values is used by its pseudo-inverse alone, and one
    that is not linear by x0 + pinv(y) - pinv(A(x0)), both as if s were 1.

    Args:
        measured: Of an operator with a pseudo-inverse.

    Reference: Wang et al., Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model, 2023, eq. 13 and 17-19.
    arXiv:2212.00490
    """

    measured: Measurement

    order = 0
    stochastic = True

    def plan(self, schedule: Schedule, times: Sequence[float]) -> list[tuple[float, ...]]:
        t = torch.tensor(list(times), dtype=torch.float64)
        parts = [part.tolist() for part in schedule.posterior(t[1:], t[:-1])]
        return list(zip(*parts, strict=True))

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        c_x, c_t, std = walk.plan[k]
        x0, noise = walk.denoise(x_t, walk.times[k]), walk.noise(x_t, walk.times[k], walk.times[k + 1])
        known, noise = self._agreed(x0, noise, std, c_x)
        return (x_t * c_t).add_(known, alpha=c_x).add_(noise)

    def finish(self, walk: Walk, x0: Tensor) -> Tensor:
        return self._agreed(x0, torch.zeros_like(x0), 0.0, 1.0)[0]

    def _agreed(self, x0: Tensor, noise: Tensor, std: float, c_x: float) -> tuple[Tensor, Tensor]:
        """x0 as it agrees with y as far as std allows, and the noise that is left to add."""
        operator, y = self.measured.operator, self.measured.value(x0)
        spectrum = operator.spectrum(x0)
        if spectrum is None:
            own = c_x * self.measured.std
            share = min(1.0, std / own) if own else 1.0
            if operator.linear:
                off = operator.pinv(y - operator(x0), x0)
            else:
                off = operator.pinv(y, x0) - operator.pinv(operator(x0), x0)
            return x0 + share * off, noise * max(std**2 - (share * own) ** 2, 0.0) ** 0.5
        brought = c_x * self.measured.std * spectrum.inverse
        lam = torch.where(brought > std, std / brought.clamp(min=1e-20), 1.0) * spectrum.known
        inside = spectrum.into(x0)
        left = (std**2 - (lam * brought) ** 2).clamp(min=0).sqrt()
        agreed = inside + lam * (spectrum.seen(y) * spectrum.inverse - inside)
        return spectrum.back(agreed), spectrum.back(left * spectrum.into(noise))


def spectrum_of(measured: Measurement, x: Tensor) -> Spectrum:
    """The singular values of what was measured.

    Raises:
        ValueError: If the operator tells none.
    """
    spectrum = measured.operator.spectrum(x)
    if spectrum is None:
        raise ValueError(f"{measured.operator!r} tells no singular values, which this sampler needs; use DDNM, MMPS or DPS")
    return spectrum
