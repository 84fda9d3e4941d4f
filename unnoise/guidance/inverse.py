"""What is believed of x when a measurement y = A(x) + std eps is known too.

    E[x | x_t, y] = x0 + (sigma_t^2 / alpha_t) grad_{x_t} log p(y | x_t)

and p(y | x_t) is taken as normal: with A(x0) for its mean, and A C A^T + std^2 for its covariance, where C stands for that of x
given x_t. At alpha_t = 0 the factor is infinite and the gradient 0: there the rules leave x0 as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.denoiser import Answer, Denoise, Time, times
from unnoise.denoiser.vjp import answer_with_vjp
from unnoise.guidance.base import Guidance
from unnoise.operator import Measurement, Spectrum
from unnoise.operator.solve import conjugate_gradients
from unnoise.tensor import Cond, expand

Number = float | Tensor  # one for all samples, or one for each, which broadcasts over x

STEPS = 30  # of conjugate gradients, where an operator tells no singular values


@dataclass(frozen=True, eq=False)
class PiGDM(Guidance):
    """Pseudo-inverse guidance: x given x_t taken to vary alike in all directions, by r^2.

        x0 + (sigma_t^2 / alpha_t) J^T A^T (r^2 A A^T + std^2)^-1 (y - A x0)
        r^2 = spread^2 sigma_t^2 / (sigma_t^2 + alpha_t^2 spread^2);   J = d x0 / d x_t

    Exact where x ~ N(., spread^2 I). One evaluation, and one pass back through the denoiser. An operator that is not linear is
    used by its pseudo-inverse: pinv(y) - pinv(A(x0)) in the place of A^T (A A^T)^-1 (y - A x0).

    Args:
        measured: Of an operator that is linear or has a pseudo-inverse.
        spread: The standard deviation of x about its mean.

    Reference: Song et al., Pseudoinverse-Guided Diffusion Models for Inverse Problems, 2023, eq. 5-8. openreview 9_gsMA8MRKQ
    """

    measured: Measurement
    spread: float = 1.0

    def __post_init__(self) -> None:
        if not self.spread > 0:
            raise ValueError(f"PiGDM: spread must be positive, given {self.spread:g}")

    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        answer, vjp = answer_with_vjp(denoise, x_t, t, cond, once=True)
        alpha, sigma, factor = coefficients(denoise, x_t, t)
        r2 = (self.spread * sigma) ** 2 / (sigma**2 + (alpha * self.spread) ** 2)
        slope = vjp(explained(self.measured, answer.x0, r2))
        x0 = answer.x0 + factor * slope if isinstance(factor, Tensor) else answer.x0.add(slope, alpha=factor)
        return answer._replace(x0=x0)


@dataclass(frozen=True, eq=False)
class MMPS(Guidance):
    """Moment matching: x given x_t varies as the denoiser itself says, by C = (sigma_t^2 / alpha_t) J.

        x0 + C A^T (A C A^T + std^2)^-1 (y - A(x0));   J = d x0 / d x_t

    Exact for normal x, whatever its covariance. One evaluation, and a pass back through the denoiser for each iteration of
    conjugate gradients and one more. Of an operator that is not linear, A there is its derivative at x0.

    Args:
        measured: Of any differentiable operator.
        iterations: Of conjugate gradients: the more, the nearer to the inverse.

    Reference: Rozet et al., Learning Diffusion Priors from Observations by Expectation Maximization, 2024, eq. 15-17 and
    algorithm 2, arXiv:2405.13712; Boys et al., Tweedie Moment Projected Diffusions, 2023, proposition 1, arXiv:2310.06721
    """

    measured: Measurement
    iterations: int = 3

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"MMPS: at least 1 iteration is expected, given {self.iterations}")

    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        answer, vjp = answer_with_vjp(denoise, x_t, t, cond)
        _, _, factor = coefficients(denoise, x_t, t)
        forward, back = linearised(self.measured, answer.x0)

        def covariance(v: Tensor) -> Tensor:
            return forward(factor * vjp(back(v))) + self.measured.std**2 * v

        off = conjugate_gradients(covariance, self.measured.residual(answer.x0), self.iterations, 1e-6)
        return answer._replace(x0=answer.x0 + factor * vjp(back(off)))


def coefficients(denoise: Denoise, x_t: Tensor, t: Time) -> tuple[Number, Number, Number]:
    """alpha_t, sigma_t and sigma_t^2 / alpha_t (0 where alpha_t is): as numbers, where all samples are at one time."""
    if not isinstance(t, Tensor):
        one, other = (part.item() for part in denoise.schedule(times(t, 1)))
        return one, other, other**2 / one if one > 0 else 0.0
    alpha, sigma = denoise.schedule(times(t, len(x_t)))
    factor = torch.where(alpha > 0, sigma**2 / alpha.clamp(min=1e-30), 0)
    return tuple(expand(part.to(x_t.device, x_t.dtype), x_t) for part in (alpha, sigma, factor))  # type: ignore[return-value]


def explained(measured: Measurement, x0: Tensor, r2: Number) -> Tensor:
    """A^T (r2 A A^T + std^2)^-1 (y - A(x0)), of x0's shape."""
    operator, y = measured.operator, measured.value(x0)
    if not operator.linear:
        return (operator.pinv(y, x0) - operator.pinv(operator(x0), x0)) / (r2 + measured.std**2)
    spectrum = operator.spectrum(x0)
    if spectrum is not None:
        off = spectrum.seen(y) - spectrum.s * spectrum.into(x0)
        return spectrum.back(off.mul_(_gain(spectrum, r2, measured.std)))
    wide = r2.reshape(-1, *(1 for _ in y.shape[1:])) if isinstance(r2, Tensor) else r2

    def covariance(v: Tensor) -> Tensor:
        return wide * operator(operator.adjoint(v, x0)) + measured.std**2 * v

    return operator.adjoint(conjugate_gradients(covariance, y - operator(x0), STEPS, 1e-6), x0)


def _gain(spectrum: Spectrum, r2: Number, std: float) -> Tensor:
    """s / (r2 s^2 + std^2), 0 where nothing is seen: of the size of the singular values, and so no work where they are shared."""
    spread = r2 * spectrum.s**2 + std**2
    return torch.where(spectrum.known, spectrum.s / spread.where(spectrum.known, torch.ones_like(spread)), 0)


def linearised(measured: Measurement, x0: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The operator's derivative at x0 and its transpose: itself and its adjoint, where it is linear."""
    operator = measured.operator
    if operator.linear:
        return operator, lambda v: operator.adjoint(v, x0)
    with torch.inference_mode(False), torch.enable_grad():
        at = x0.detach().clone().requires_grad_()
        image = operator(at)

    def forward(v: Tensor) -> Tensor:
        with torch.enable_grad():
            return torch.func.jvp(operator, (x0,), (v,))[1].detach()

    return forward, lambda v: torch.autograd.grad(image, at, v, retain_graph=True)[0]
