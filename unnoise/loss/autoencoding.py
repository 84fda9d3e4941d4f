"""The bound of a variational autoencoder, whose decoder is a denoiser of pure noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unnoise.condition import Conditions
from unnoise.denoiser import Denoiser
from unnoise.loss.base import Batch, noise
from unnoise.network import Encoder
from unnoise.tensor import Rng


class Autoencoding(nn.Module):
    """Minus the bound on log p(x | cond), in nats a number of x: the model decodes, a network of this objective encodes.

        loss = (|x - D(z)|^2 / (2 s^2) + d/2 log(2 pi s^2) - 1/2 sum(1 + log v - m^2 - v)) / d
        z = m + sqrt(v) eps,   (m, log v) = encoder(x),   d numbers in x

    z is put in the place of the first numbers of the noise at t = 1, where `network.Decoder` reads its latent: a model
    trained so is sampled by a walk of one time. The larger s, the fewer nats z may carry: samples are blurred. The smaller, the
    more, and the further are latents of data from the normal law that samples begin with: samples are like nothing. Where most
    numbers of x are constant, as the borders of digits, what is learnt of s is too small for samples, best though its bound is.

    Args:
        shape: Of one sample; handed over.
        latent: Numbers in z; handed over by the network.
        conds: What the encoder sees beside x; handed over.
        deviation: s; None learns it with the rest.
        width, multipliers: Of the encoder; see `network.Encoder`.

    Raises:
        ValueError: For a network that reads no latent (`latent` is 0), or a deviation that is not positive.

    Reference: Kingma and Welling, Auto-Encoding Variational Bayes, 2014, eq. 10, arXiv:1312.6114; s: Rybkin et al., Simple and
    Effective VAE Training with Calibrated Decoders, 2021, section 3.1, arXiv:2006.13202
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        conds: Conditions | None = None,
        deviation: float | None = None,
        width: int = 32,
        multipliers: Sequence[float] = (1, 2, 4),
    ) -> None:
        super().__init__()
        if not latent:
            raise ValueError("the network reads no latent from the noise; use network.Decoder")
        if deviation is not None and deviation <= 0:
            raise ValueError(f"deviation is {deviation}; expected a positive number")
        self.latent = latent
        self.encoder: nn.Module = Encoder(shape, 2 * latent, conds, width, multipliers)
        self.log_deviation = nn.Parameter(torch.tensor(math.log(deviation or 1.0)), requires_grad=deviation is None)

    def __call__(self, model: Denoiser, batch: Batch, rng: Rng) -> Tensor:
        distortion, rate = self.terms(model, batch, rng)
        return (distortion + rate) / math.prod(batch["x"].shape[1:])

    def at(self, model: Denoiser, batch: Batch, t: Tensor, rng: Rng) -> Tensor:
        """The same at any t, since this model answers at t = 1 alone."""
        return self(model, batch, rng)

    def terms(self, model: Denoiser, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """Nats to say x when z is known, and to say z, (B,) each."""
        x, (x_1, cond) = batch["x"], noise(model, batch, rng)
        clean = model.level(model.schedule, torch.zeros(len(x), dtype=torch.float64)).to(x)
        mean, log_variance = self.encoder(x, clean, cond).chunk(2, dim=1)  # (B, latent) each
        flat = x_1.flatten(1)
        z = mean + (log_variance / 2).exp() * flat[:, : self.latent]
        x_1 = torch.cat([z, flat[:, self.latent :]], 1).reshape(x.shape)
        error = (x - model(x_1, 1.0, cond)).flatten(1).square().sum(1)
        nats = self.log_deviation + math.log(2 * math.pi) / 2
        distortion = error * (-2 * self.log_deviation).exp() / 2 + math.prod(x.shape[1:]) * nats
        rate = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return distortion, rate
