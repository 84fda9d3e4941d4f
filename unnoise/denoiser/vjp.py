"""An answer that can be differentiated: what methods need that look back through the denoiser."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unnoise.denoiser.base import Answer, Denoise, Time
from unnoise.tensor import Cond


def answer_with_vjp(
    denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None = None, once: bool = False
) -> tuple[Answer, Callable[[Tensor], Tensor]]:
    """The answer, detached, and the function v -> v^T d x0 / d x_t, each of x_t's shape; also where gradients are off.

    By Tweedie's formula of second order the covariance of x given x_t is sigma_t^2 / alpha_t times this (symmetric) Jacobian.
    Each product costs about two evaluations of the denoiser.

    Args:
        once: There will be one product, which then frees on its way what the pass keeps: quicker.
    """
    with torch.inference_mode(False), torch.enable_grad():
        at = (x_t.clone() if x_t.is_inference() else x_t.detach()).requires_grad_()
        answer = denoise.answer(at, t, cond)

    def vjp(v: Tensor) -> Tensor:
        return torch.autograd.grad(answer.x0, at, v, retain_graph=not once)[0]

    still = {name: value.detach() for name, value in answer._asdict().items() if isinstance(value, Tensor)}
    return answer._replace(**still), vjp  # type: ignore[arg-type]
