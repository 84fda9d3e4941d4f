"""The exact likelihood of the probability flow, by an adaptive solver.

The flow is solved for y = x_t / sqrt(alpha^2 + sigma^2), whose size stays, in lam = log(alpha / sigma), with r = sigma / alpha:

    dy / dlam = (sqrt(1 + r^2) D(x_t) - y) / (1 + r^2)

so that neither rates nor a schedule's own time enter. Along it log p changes by the trace of the derivative of the right side.

Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, eq. 39 (there in t).
arXiv:2011.13456
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unnoise.denoiser import Denoise
from unnoise.likelihood.solver import solve
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, Rng, expand

FARTHEST = -12.0  # lam: where a schedule ends without signal the flow ends here


class Density(NamedTuple):
    """log_prob: log p(x) in nats, (B,). latent: x_t at the end of the flow. nfe: Evaluations of the denoiser."""

    log_prob: Tensor
    latent: Tensor
    nfe: int


@dataclass(frozen=True)
class Flow:
    """log p(x) of the model whose samples are ends of the probability flow.

        log p(x) = log N(y; 0, (spread / scale)^2) at the end + integral of tr(d/dy dy/dlam) dlam - D log(scale) at the start

    with scale = sqrt(alpha^2 + sigma^2). x is taken as the state at `start`, as if it were that little
    noised: exact for a model that is sampled by a walk that ends there.

    Args:
        trace: "exact" by D derivatives (few dimensions); "hutchinson" without bias by random directions, v . d/dy (v . f).
        probes: Directions of signs, for "hutchinson"; kept along the flow.
        rtol, atol: Of the solver, for each step of y and of log p / D.
        start: The time of the data; the schedule's t_min if not given.
        end: The time of the prior.
        spread: Standard deviation of the prior; that of unit data at `end` if not given.

    Reference: Song et al. 2021, eq. 39-40 and appendix D.2. arXiv:2011.13456; Grathwohl et al., FFJORD, 2019, eq. 8.
    arXiv:1810.01367
    """

    trace: Literal["exact", "hutchinson"] = "hutchinson"
    probes: int = 1
    rtol: float = 1e-4
    atol: float = 1e-4
    start: float | None = None
    end: float = 1.0
    spread: float | None = None

    def __post_init__(self) -> None:
        if self.trace not in ("exact", "hutchinson") or self.probes < 1:
            raise ValueError(
                f"Flow: trace {self.trace!r} with {self.probes} probes; expected exact or hutchinson, and one at least"
            )

    def __call__(self, denoiser: Denoise, x: Tensor, rng: Rng | None = None, cond: Cond | None = None) -> Density:
        """log p(x) of each sample, (B, ...).

        Args:
            rng: One stream a sample, for "hutchinson".

        Raises:
            ValueError: If directions are to be drawn and there is no randomness.
        """
        if self.trace == "hutchinson" and rng is None:
            raise ValueError("Flow: trace 'hutchinson' draws directions: give it rng=Rng(seeds)")
        schedule, dims = denoiser.schedule, x[0].numel()
        start, end = self._ends(schedule)
        first, last = _scale(schedule, start), _scale(schedule, end)
        probes = [] if rng is None else [_signs(x, rng, i) for i in range(self.probes)]
        nfe = 0

        def slope(lam: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal nfe
            nfe += 1
            return self._slope(denoiser, lam, y, cond, probes)

        lams = [_log_snr(schedule, t) / 2 for t in (start, end)]
        y, gained = solve(slope, x / first, lams[0], lams[1], self.rtol, self.atol)
        spread = (last if self.spread is None else self.spread) / last
        prior = -(y**2 / spread**2 + math.log(2 * math.pi * spread**2)).flatten(1).sum(1).cpu().double() / 2
        return Density(prior + gained - dims * math.log(first), y * last, nfe)

    def _ends(self, schedule: Schedule) -> tuple[float, float]:
        start = schedule.t_min if self.start is None else self.start
        farthest = schedule.time(torch.tensor(2 * FARTHEST, dtype=torch.float64))
        return start, min(self.end, float(farthest))

    def _slope(self, denoiser: Denoise, lam: Tensor, y: Tensor, cond: Cond | None, probes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """dy / dlam and its trace, (B,), in float64."""
        t = denoiser.schedule.time(2 * lam)
        power = 1 + (-2 * lam).exp()
        scale = expand((sum(c**2 for c in denoiser.schedule(t))).sqrt().detach().to(y), y)  # type: ignore[union-attr]
        with torch.inference_mode(False), torch.enable_grad():
            at = y.detach().clone().requires_grad_()
            x0 = denoiser(at * scale, t, cond)
            trace = _exact(x0, at) if self.trace == "exact" else _estimate(x0, at, probes)
        dims, root = y[0].numel(), power.sqrt()
        return (expand(root.to(y), y) * x0.detach() - y) / expand(power.to(y), y), (root * trace - dims) / power


def _exact(x0: Tensor, at: Tensor) -> Tensor:
    """tr(d x0 / d at), (B,): a derivative for each of the dimensions, all in one backward pass."""
    flat = x0.flatten(1)
    dims = flat.shape[1]
    ones = torch.eye(dims, dtype=flat.dtype, device=flat.device)[:, None].expand(dims, *flat.shape)
    (rows,) = torch.autograd.grad(flat, at, ones, is_grads_batched=True)
    return torch.einsum("dbd->b", rows.flatten(2)).cpu().double()


def _estimate(x0: Tensor, at: Tensor, probes: list[Tensor]) -> Tensor:
    """The same, by the mean of v . (d x0 / d at) v over directions v."""
    found = []
    for v in probes:
        (row,) = torch.autograd.grad(x0, at, v, retain_graph=v is not probes[-1])
        found.append((row * v).flatten(1).sum(1).cpu().double())
    return torch.stack(found).mean(0)


def _signs(x: Tensor, rng: Rng, counter: int) -> Tensor:
    return rng.to(x.device).uniform(x.shape[1:], "probe", counter).sub(0.5).sign().to(x.dtype)


def _scale(schedule: Schedule, t: float) -> float:
    with torch.no_grad():
        alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    return float((alpha**2 + sigma**2).sqrt())


def _log_snr(schedule: Schedule, t: float) -> float:
    with torch.no_grad():
        return float(schedule.log_snr(torch.tensor(t, dtype=torch.float64)))
