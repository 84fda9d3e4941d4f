"""The game of a generative adversarial network, whose generator is a denoiser of pure noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from unnoise.condition import Conditions
from unnoise.denoiser import Denoiser
from unnoise.loss.base import Batch, frozen, noise
from unnoise.loss.listening import Listening
from unnoise.network import Encoder
from unnoise.tensor import Cond, Rng, expand

LEAST = 0.01  # the reach of the noise never falls below this


class Adversarial(Listening):
    """Generator and discriminator at once, each by its own loss and neither by the other's (non-saturating).

        loss = softplus(-C(x)) + softplus(C(stopped D(x_1))) + r1/2 |grad_x C(x)|^2     moves the discriminator C
             + softplus(-stopped C(D(x_1)))                                             moves the generator D

    C is a network of this objective. D answers at t = 1 alone: a walk of one time samples it.

    With `noise`, C sees y = alpha_t x + noise sigma_t eps instead, of real and made alike, and is told t: one half of them as
    they are, the other at t uniform in [0, reach], on the model's own schedule. The reach grows while C knows the real ones
    too surely, r = E[sign C(y)] > target, and else shrinks: from 0 to 1 in `pace` samples.

    Args:
        shape: Of one sample; handed over.
        conds: What C sees beside x; handed over.
        width, multipliers: Of C; see `network.Encoder`.
        r1: Weight of the penalty.
        share: Of a batch that has the penalty, with a weight that makes up for the others.
        noise: Scale of the noise that C looks through; 0 for none.
        target: See above.
        pace: See above.

    Raises:
        ValueError: For a share that is not in (0, 1], or numbers below 0.

    Reference: Goodfellow et al., Generative Adversarial Networks, 2014, section 3 and algorithm 1 (simultaneous steps),
    arXiv:1406.2661; R1: Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018, eq. 9, arXiv:1801.04406;
    noise: Wang et al., Diffusion-GAN: Training GANs with Diffusion, 2022, eq. 4 and section 3.3, arXiv:2206.02262
    """

    reach: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        conds: Conditions | None = None,
        width: int = 32,
        multipliers: Sequence[float] = (1, 2, 4),
        r1: float = 1.0,
        share: float = 0.25,
        noise: float = 0.0,
        target: float = 0.6,
        pace: int = 100_000,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}; expected above 0, at most 1")
        for name, value in (("r1", r1), ("noise", noise), ("pace", pace - 1)):
            if value < 0:
                raise ValueError(f"{name} is {value}; expected no number below {int(name == 'pace')}")
        self.r1, self.share, self.noise, self.target, self.pace = r1, share, noise, target, pace
        self.discriminator: nn.Module = Encoder(shape, 1, conds, width, multipliers)
        self.register_buffer("reach", torch.tensor(LEAST))

    def __call__(self, model: Denoiser, batch: Batch, rng: Rng) -> Tensor:
        real, made = self.players(model, batch, rng)
        losses = real + made
        if torch.is_grad_enabled() and self.r1:
            losses = losses + self.penalty(model, batch)
        return losses

    def at(self, model: Denoiser, batch: Batch, t: Tensor, rng: Rng) -> Tensor:
        """The two losses without the penalty, at any t, since this model answers at t = 1 alone; nothing is learnt of them."""
        was, self.training = self.training, False
        real, made = self.players(model, batch, rng)
        self.training = was
        return real + made

    def players(self, model: Denoiser, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """The discriminator's loss and the generator's, (B,) each."""
        x, (x_1, cond) = batch["x"], noise(model, batch, rng)
        made = model(x_1, 1.0, cond)
        of_real = self.judged(model, x, cond, rng, "real")
        of_made = self.judged(model, made.detach(), cond, rng, "made")
        if self.noise and self.training and torch.is_grad_enabled():
            self.said(of_real)
        with frozen(self.discriminator):
            game = softplus(-self.judged(model, made, cond, rng, "made"))
        return softplus(-of_real) + softplus(of_made), game

    def judged(self, model: Denoiser, x: Tensor, cond: Cond, rng: Rng, kind: str) -> Tensor:
        """How real the discriminator finds x through its noise, as a logit, (B,)."""
        rng = rng.to(x.device)
        u = rng.uniform((), f"reach of {kind}", dtype=torch.float64)
        t = (2 * u - 1).clamp(min=0).cpu() * float(self.reach) if self.noise else torch.zeros(len(x), dtype=torch.float64)
        if self.noise:
            alpha, sigma = (expand(c.to(x), x) for c in model.schedule(t))
            x = alpha * x + self.noise * sigma * rng.normal(x.shape[1:], f"noise of {kind}", dtype=x.dtype)
        return self.discriminator(x, model.level(model.schedule, t).to(x), cond)[:, 0]

    def penalty(self, model: Denoiser, batch: Batch) -> Tensor:
        """r1/2 |grad_x C(x)|^2 of clean data, on the first rows, (B,); 0 on the others."""
        rows = math.ceil(self.share * len(batch["x"]))
        x = batch["x"][:rows].detach().requires_grad_()
        cond = {name: batch[name][:rows] for name in model.conds if name in batch}
        level = model.level(model.schedule, torch.zeros(rows, dtype=torch.float64)).to(x)
        (slope,) = torch.autograd.grad(self.discriminator(x, level, cond).sum(), x, create_graph=True)
        steep = slope.flatten(1).square().sum(1) * (self.r1 / 2 * len(batch["x"]) / rows)
        return torch.cat([steep, steep.new_zeros(len(batch["x"]) - rows)])

    @torch.no_grad()
    def hear(self, *rows: Tensor) -> None:
        """Move the reach of the noise by what the discriminator says of real samples, (B,)."""
        (of_real,) = rows
        turn = (of_real.sign().mean() - self.target).sign()
        self.reach.add_(turn * len(of_real) / self.pace).clamp_(LEAST, 1.0)
