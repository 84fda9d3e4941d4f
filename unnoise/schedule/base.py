"""The noising of data: x_t = alpha_t x + sigma_t eps, with t in [0, 1], data at t = 0 and eps ~ N(0, I).

A schedule is the pair of functions alpha_t (signal scale) and sigma_t (noise scale). All that is ever asked of the Markov chain
or the stochastic differential equation behind it follows from these two. Times are float64 tensors on the CPU: a schedule
is evaluated for a handful of numbers, never for pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from html import escape

import torch
from torch import Tensor

HALVINGS = 60  # of [0, 1]: past the resolution of float64
SHOWN = 101  # points of a curve


class Schedule(ABC):
    """Signal and noise scale over time. The signal-to-noise ratio alpha^2 / sigma^2 falls strictly.

    `t_min` is the least time of a walk and of training: below it a schedule with sigma_0 = 0 has nothing left to remove.
    """

    t_min: float = 0.0

    @abstractmethod
    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t, each of t's shape: the only method that a schedule must write."""

    def log_snr(self, t: Tensor) -> Tensor:
        """2 log(alpha_t / sigma_t); -inf where alpha_t = 0."""
        alpha, sigma = self(t)
        return 2 * (alpha.log() - sigma.log())

    def time(self, log_snr: Tensor) -> Tensor:
        """The t at which the log signal-to-noise ratio has this value, clamped to [0, 1]; by bisection."""
        low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            noisier = self.log_snr(middle) <= log_snr
            low, high = torch.where(noisier, low, middle), torch.where(noisier, middle, high)
        return high

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """d alpha / dt and d sigma / dt, by automatic differentiation."""
        with torch.inference_mode(False), torch.enable_grad():
            at = t.detach().clone().requires_grad_()
            alpha, sigma = (_slope(scale, at) for scale in self(at))
        return alpha, sigma

    def sde(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients f and g of the forward process as a stochastic differential equation, dx = f x dt + g dW.

            f = alpha' / alpha;  g^2 = 2 sigma (sigma' - f sigma)

        Reference: Kingma et al., Variational Diffusion Models, 2021, appendix B. arXiv:2107.00630
        """
        (alpha, sigma), (d_alpha, d_sigma) = self(t), self.rates(t)
        f = d_alpha / alpha
        return f, (2 * sigma * (d_sigma - f * sigma)).clamp(min=0).sqrt()

    def transition(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and standard deviation of one forward step, q(x_t | x_s) = N(scale x_s, std^2 I), s < t.

            scale = alpha_t / alpha_s;  std^2 = sigma_t^2 - scale^2 sigma_s^2 = sigma_t^2 (1 - exp(log_snr_t - log_snr_s))

        Reference: Kingma et al. 2021, appendix A.1 and F. arXiv:2107.00630
        """
        (alpha_s, _), (alpha_t, sigma_t) = self(s), self(t)
        # The second form of std^2 subtracts nothing large: exact for s close to t too.
        return alpha_t / alpha_s, sigma_t * (-torch.expm1(self.log_snr(t) - self.log_snr(s))).sqrt()

    def posterior(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients of one backward step when x is known, q(x_s | x_t, x) = N(c_x x + c_t x_t, std^2 I), s < t.

            c_x = alpha_s std_{t|s}^2 / sigma_t^2;  c_t = scale sigma_s^2 / sigma_t^2;  std = sigma_s std_{t|s} / sigma_t

        with `scale` and std_{t|s} of the transition.

        Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, eq. 6-7 (there for s = t - 1). arXiv:2006.11239
        """
        (alpha_s, sigma_s), (_, sigma_t), (scale, std) = self(s), self(t), self.transition(s, t)
        return alpha_s * (std / sigma_t) ** 2, scale * (sigma_s / sigma_t) ** 2, sigma_s * std / sigma_t

    def uniform(self, u: Tensor) -> Tensor:
        """The time at quantile u in (0, 1) of the schedule's uniform law: over [t_min, 1], or over a table's entries."""
        return self.t_min + (1 - self.t_min) * u

    def _repr_html_(self) -> str:
        """Its curves, for a notebook."""
        from unnoise import show

        t = torch.linspace(self.t_min, 1, SHOWN, dtype=torch.float64)
        with torch.no_grad():
            scales, log_snr = [scale.tolist() for scale in self(t)], self.log_snr(t).tolist()
        curves = dict(zip(("alpha", "sigma"), scales, strict=True))
        head = escape(repr(self).splitlines()[0])
        charts = show.chart("", t.tolist(), curves) + show.chart("log_snr", t.tolist(), {"": log_snr})
        return f"<div><code>{head}</code><br>{charts}</div>"


def _slope(scale: Tensor, t: Tensor) -> Tensor:
    if not scale.requires_grad:  # a constant
        return torch.zeros_like(t)
    return torch.autograd.grad(scale.sum(), t, retain_graph=True, materialize_grads=True)[0]
