"""Diffusion posterior sampling: each step, then one down the gradient of the misfit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unnoise.condition import Conditions
from unnoise.denoiser import Answer, Denoise, Time
from unnoise.denoiser.vjp import answer_with_vjp
from unnoise.operator import Measurement
from unnoise.operator.solve import dot
from unnoise.sampler.around import Around
from unnoise.sampler.base import Sampler, Walk
from unnoise.sampler.ddim import DDIM
from unnoise.tensor import Cond, expand


@dataclass(frozen=True, eq=False)
class DPS(Around):
    """Any sampler, with a step down the misfit's gradient, through the denoiser, after each of its steps.

        x_s <- x_s - scale grad_{x_t} |y - A(x0(x_t))|

    For any differentiable operator, linear or not. The size of the gradient's step is fixed, so the law depends on the number of
    steps, and on none is exact (order 0); it suits many steps (the paper takes 1,000). One evaluation a step, and one pass
    back, which costs as much as two.

    Args:
        measured: Of any operator.
        scale: Of the step; the paper takes 0.3 to 1 for pictures in [-1, 1].
        sampler: Makes the steps; the gradient is that of the first evaluation of each.

    Reference: Chung et al., Diffusion Posterior Sampling for General Noisy Inverse Problems, 2023, algorithm 1, with the norm
    of its published code (not squared). arXiv:2209.14687
    """

    measured: Measurement
    scale: float = 1.0
    sampler: Sampler = field(default_factory=lambda: DDIM(eta=1.0))

    def step(self, walk: Walk, x_t: Tensor, k: int) -> Tensor:
        denoiser, followed = walk.denoiser, Followed(walk.denoiser)
        walk.denoiser = followed
        x_s = super().step(walk, x_t, k)
        walk.denoiser = denoiser
        return x_s.sub(followed.vjp(self._slope(followed.x0)), alpha=self.scale)

    def _slope(self, x0: Tensor) -> Tensor:
        """The gradient of |y - A(x0)|, each sample's own, in x0: -A^T (y - A x0) / |y - A x0| of a linear operator."""
        if self.measured.operator.linear:
            off = self.measured.residual(x0)
            size = torch.linalg.vector_norm(off.flatten(1), dim=1).clamp(min=torch.finfo(x0.dtype).tiny ** 0.5)
            return self.measured.operator.adjoint(off.div_(expand(-size, off)), x0)
        with torch.inference_mode(False), torch.enable_grad():
            x0 = x0.detach().clone().requires_grad_()
            off = self.measured.residual(x0)
            return torch.autograd.grad(dot(off, off).clamp(min=torch.finfo(x0.dtype).tiny).sqrt().sum(), x0)[0]


class Followed:
    """A denoiser whose first answer can be differentiated: its x0, and v -> v^T d x0 / d x_t."""

    x0: Tensor
    vjp: Callable[[Tensor], Tensor]

    def __init__(self, denoiser: Denoise) -> None:
        self.denoiser, self.schedule = denoiser, denoiser.schedule
        self.conds: Conditions = denoiser.conds
        self.first = True

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return self.denoiser.project(x, cond)

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        if not self.first:
            return self.denoiser.answer(x_t, t, cond)
        answer, self.vjp = answer_with_vjp(self.denoiser, x_t, t, cond, once=True)
        self.x0, self.first = answer.x0, False
        return answer

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0
