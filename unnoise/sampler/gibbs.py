"""Sweeps between what the measurement says and what the denoiser says: exact in the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from unnoise.operator import Measurement
from unnoise.sampler.base import Path, Sampler, Walk, path
from unnoise.sampler.ddim import DDIM
from unnoise.sampler.spectral import DDRM, spectrum_of
from unnoise.schedule import Schedule


class Plan(NamedTuple):
    """The approximate sampler's plan, the exact one's, the latter's of its part below each time, and the schedule."""

    rough: Any
    steps: Any
    at: Path


@dataclass(frozen=True, eq=False)
class SplitGibbs(Sampler):
    """An approximate walk down to the noise of the measurement, there Gibbs sweeps, and a free walk to the end.

        z | x, y:  z = x + (ratio^2 s / std^2) (y~ - s x) + ratio sqrt(1 - (ratio s / std)^2) noise
        x | z:     a walk of `sampler` from x_t = alpha_t z to data

    in the coordinates of A's singular vectors, where ratio = sigma_t / alpha_t <= std / s. Both draws are exact, so that the law
    of x | y stays as it is, at any such ratio: exact as sweeps and times grow. A sweep moves by about ratio: modes far apart keep
    the weights that the approximate walk gave them. One evaluation for each time below std in each sweep, and n besides.

    Args:
        measured: With noise (std > 0), of an operator that tells its singular values.
        sweeps: At the walk's first time with sigma / alpha <= std / max s.
        rough: Walks down to there; by default `DDRM`.
        sampler: Draws x | z: one whose law is exact with many steps.

    Raises:
        ValueError: If there is no noise, or in a walk that has no time at so little noise.

    Reference: Vono et al., Split-and-Augmented Gibbs Sampler, 2019, section III, arXiv:1804.05809; with diffusion, and the ratio
    annealed: Wu et al., Principled Probabilistic Imaging using Diffusion Models as Plug-and-Play Priors, 2024, algorithm 1,
    arXiv:2405.18782. Splitting the noise so that nothing is approximated is ours.
    """

    measured: Measurement
    sweeps: int = 10
    rough: Sampler | None = None
    sampler: Sampler = field(default_factory=lambda: DDIM(eta=1.0))

    order = 0
    stochastic = True

    def __post_init__(self) -> None:
        if not self.measured.std > 0 or self.sweeps < 0:
            given = f"given {self.measured.std:g} and {self.sweeps}"
            raise ValueError(f"SplitGibbs: a noisy measurement (std > 0) and sweeps >= 0 are expected, {given}")

    def evaluations(self, n: int) -> None:
        return None

    @property
    def approximate(self) -> Sampler:
        """What walks down to the sweeps."""
        return self.rough or DDRM(self.measured)

    def plan(self, schedule: Schedule, times: Sequence[float]) -> Plan:
        return Plan(self.approximate.plan(schedule, times), self.sampler.plan(schedule, times), path(schedule, times))

    def start(self, walk: Walk, x: Tensor) -> Tensor:
        self._foot(walk.plan.at, x)
        return self._with(walk, walk.plan.rough, lambda: self.approximate.start(walk, x))

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        foot = self._foot(walk.plan.at, x_t)
        sampler, plan = (self.approximate, walk.plan.rough) if k < foot else (self.sampler, walk.plan.steps)
        x_s = self._with(walk, plan, lambda: sampler.step(walk, x_t, k))
        return self._swept(walk, x_s, foot) if k + 1 == foot else x_s

    def _swept(self, walk: Walk, x_s: Tensor, foot: int) -> Tensor:
        """x_s at the foot after all sweeps."""
        measured, at, times = self.measured, walk.plan.at, list(walk.times[foot:])
        spectrum, ratio = spectrum_of(measured, x_s), at.sigma[foot] / at.alpha[foot]
        plan, seen = self.sampler.plan(walk.denoiser.schedule, times), spectrum.seen(measured.value(x_s))
        share = (ratio * spectrum.s / measured.std) ** 2
        for _ in range(self.sweeps):
            x = spectrum.into(walk.along(self.sampler, x_s, times, plan) / at.alpha[-1])
            mean = x + share * (seen * spectrum.inverse - x)
            noise = spectrum.into(walk.noise(x_s, times[0], times[0]))
            x_s = spectrum.back(mean + ratio * (1 - share).clamp(min=0).sqrt() * noise) * at.alpha[foot]
        return x_s

    def _foot(self, at: Path, x: Tensor) -> int:
        """The first of the times at which the level is no noisier than the clearest coordinate of the measurement."""
        most = self.measured.std / float(spectrum_of(self.measured, x).s.max())
        foot = next((k for k, (a, s) in enumerate(zip(at.alpha, at.sigma, strict=True)) if s <= most * a), len(at.t))
        if not 0 < foot < len(at.t) - 1:
            raise ValueError(f"SplitGibbs: no time of the walk lies below the measurement's noise, {most:g}; take more times")
        return foot

    @staticmethod
    def _with(walk: Walk, plan: Any, act: Callable[[], Tensor]) -> Tensor:
        whole = walk.plan
        walk.plan = plan
        x = act()
        walk.plan = whole
        return x
