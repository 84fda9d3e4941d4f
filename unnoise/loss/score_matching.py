"""Score matching without the noise's own score: what a density's gradient is, from its values' side alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from unnoise.denoiser import Denoiser, score
from unnoise.loss.base import Batch, frozen, noised
from unnoise.loss.times import Law, Uniform, weighed
from unnoise.tensor import Rng, masked_mean


@dataclass(frozen=True)
class SlicedScore:
    """Sliced score matching of the noised data: never looks at x, only at x_t.

        loss = sigma^2 mean (v . d/dx_t (v . s) + s^2 / 2);   s = (alpha D(x_t) - x_t) / sigma^2

    It is denoising score matching (half the loss with `weight = "snr"`) up to a constant, in the mean, with more variance and
    twice the cost: use it where only noised data are known.

    Args:
        times: The law of t.
        slices: Random directions v (of signs) for each sample.

    Reference: Song et al., Sliced Score Matching: A Scalable Approach to Density and Score Estimation, 2019, eq. 8.
    arXiv:1905.07088
    """

    times: Law = field(default_factory=Uniform)
    slices: int = 1

    def __call__(self, model: Denoiser, batch: Batch, rng: Rng) -> Tensor:
        t = self.times(model.schedule, rng)
        return weighed(self.times, model.schedule, t, self.at(model, batch, t, rng))

    def at(self, model: Denoiser, batch: Batch, t: Tensor, rng: Rng) -> Tensor:
        """The losses at given times, (B,)."""
        training = torch.is_grad_enabled()
        # Fused attention has no second derivative.
        with torch.enable_grad(), frozen(model.schedule), sdpa_kernel(SDPBackend.MATH):
            at = noised(model, batch, t, rng)
            x_t = at.x_t.detach().requires_grad_()
            alpha, sigma = (c.to(x_t.device, x_t.dtype) for c in model.schedule(t))
            found = score(x_t, model(x_t, t, at.cond), alpha, sigma)
            values = found**2 / 2
            for i in range(self.slices):
                v = rng.to(x_t.device).uniform(x_t.shape[1:], "slice", i, dtype=x_t.dtype).sub(0.5).sign()
                (slope,) = torch.autograd.grad((v * found).sum(), x_t, create_graph=training, retain_graph=True)
                values = values + v * slope / self.slices
        losses = masked_mean(at.sigma**2 * values, at.mask)
        return losses if training else losses.detach()
