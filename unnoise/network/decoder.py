"""Two small convolutional networks that meet in a vector: from a latent to a sample, and from a sample to some numbers.

They are what a variational autoencoder and a generative adversarial network are made of, in the sizes of DCGAN.

Symbols at the margin: B batch, C channels of a sample, W channels of a level, E of the embedding, Z of the latent; `...` stands
for (L,), (H, W) or (T, H, W).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.condition import Conditions, complete
from unnoise.network.unet import check_beside, check_levels, taken
from unnoise.nn.conv import conv, cropped, doubling, padded
from unnoise.nn.embed import Embedding, beside
from unnoise.nn.norm import AdaptiveNorm, Norm
from unnoise.tensor import Cond

LATENT = 64  # numbers, where a recipe is silent
SLOPE = 0.2  # of the encoder's activations below zero


class Decoder(nn.Module):
    """A sample from the first `latent` numbers of x, which are its latent; the others are not looked at.

    At t = 1, where x is noise alone, it is the generator of an adversarial network or the decoder of an autoencoder: a walk
    of one time. A fresh network answers 0. Conditions of route "vector", and the level, steer the norms; those of route
    "concat" are laid, flattened, beside the latent.

    Args:
        shape: Of one sample, (C, ...), of any sides.
        conds: The conditions it takes.
        latent: Numbers in the latent; None: 64, or as many as x has.
        width: Channels at full size.
        multipliers: Of the width, one for each level; each has half the sides of the one before.
        hidden: Units of a layer between the latent and the first picture, which is told the embedding beside the latent; 0: none.
            Norms let a class change how a picture is drawn, but not where a latent leads.
        tanh: Keep the answer within -1 and 1.
        variance: Answer 2 C channels: the prediction, then the learned variance.
        features: Of the level. See `nn.Embedding`.

    Raises:
        ValueError: For a shape, a condition or a latent that does not fit.

    Reference: Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks,
    2016, section 3 (there with batch normalisation, which would make a sample depend on its batch). arXiv:1511.06434
    """

    def __init__(
        self,
        shape: Sequence[int],
        conds: Conditions | None = None,
        latent: int | None = None,
        width: int = 32,
        multipliers: Sequence[float] = (1, 2, 4),
        tanh: bool = False,
        variance: bool = False,
        features: str = "cos sin",
        hidden: int = 0,
    ) -> None:
        super().__init__()
        check_levels(shape, len(multipliers), ())
        check_beside(shape, conds or {})
        self.conds, self.tanh, self.variance = dict(conds or {}), tanh, variance
        self.latent = min(LATENT, math.prod(shape)) if latent is None else latent
        if not 1 <= self.latent <= math.prod(shape):
            raise ValueError(f"latent is {latent}; expected 1 to {math.prod(shape)}, the numbers of a sample of {tuple(shape)}")
        widths, spatial, dim = [int(m * width) for m in multipliers], len(shape) - 1, 4 * width
        self.small = [widths[-1], *(-(-side // 2 ** (len(widths) - 1)) for side in shape[1:])]
        beside_it = (taken(shape, self.conds) - shape[0]) * math.prod(shape[1:])
        self.embed = Embedding(features, width, dim, self.conds)
        told = self.latent + beside_it
        self.bend = nn.Sequential(nn.Linear(told + dim, hidden), nn.SiLU()) if hidden else None
        self.stem = nn.Linear(hidden or told, math.prod(self.small))
        self.norms, self.larger = nn.ModuleList(), nn.ModuleList()
        for here, after in itertools.pairwise(reversed(widths)):
            self.norms.append(AdaptiveNorm(here, dim))
            self.larger.append(doubling(spatial, here, after))
        self.out = nn.Sequential(Norm(widths[0]), nn.SiLU(), conv(spatial, widths[0], shape[0] * (1 + variance)))
        for parameter in self.out[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, level: Tensor, cond: Cond | None = None) -> Tensor:
        cond = complete(self.conds, cond, len(x), x.device)
        embedding = self.embed(level, cond)  # (B, E)
        z, *others = (part.flatten(1) for part in beside(x, self.conds, cond))
        h = torch.cat([z[:, : self.latent], *others], 1)
        if self.bend is not None:
            h = self.bend(torch.cat([h, embedding], 1))  # (B, hidden)
        h = self.stem(h)
        h = h.reshape(len(x), *self.small)  # (B, W, ... / 2^levels)
        for norm, larger in zip(self.norms, self.larger, strict=True):
            h = larger(F.silu(norm(h, embedding)))  # (B, W, ... / 2^level)
        h = cropped(self.out(h), x.shape[2:])  # (B, C or 2 C, ...)
        return h.tanh() if self.tanh else h


class Encoder(nn.Module):
    """Some numbers of a sample, (B, out): the moments of its latent, or how real it looks.

    It has no normalisation: of the gradient by x, which an adversarial network needs, none but this sample decides, and a
    penalty upon that gradient (R1) is known to suffice. Level and conditions steer the last hidden layer, so that with one
    number it is <head, h> + <head * scale(cond), h> before the activation: a projection discriminator.

    Args:
        shape: Of one sample, (C, ...), of any sides.
        out: How many numbers.
        conds: The conditions it takes.
        width, multipliers, features: As for `Decoder`.
        hidden: Units of the last hidden layer.

    Raises:
        ValueError: For a shape or a condition that does not fit.

    Reference: Radford et al. 2016, section 3, arXiv:1511.06434; conditions: Miyato and Koyama, cGANs with Projection
    Discriminator, 2018, eq. 3, arXiv:1802.05637
    """

    def __init__(
        self,
        shape: Sequence[int],
        out: int,
        conds: Conditions | None = None,
        width: int = 32,
        multipliers: Sequence[float] = (1, 2, 4),
        features: str = "cos sin",
        hidden: int = 256,
    ) -> None:
        super().__init__()
        check_levels(shape, len(multipliers), ())
        check_beside(shape, conds or {})
        self.conds, spatial, dim = dict(conds or {}), len(shape) - 1, 4 * width
        widths = [int(m * width) for m in multipliers]
        self.multiple = 2 ** (len(widths) - 1)
        self.embed = Embedding(features, width, dim, self.conds)
        layers = [conv(spatial, taken(shape, self.conds), widths[0]), nn.LeakyReLU(SLOPE)]
        for here, after in itertools.pairwise(widths):
            layers += [conv(spatial, here, after, kernel=4, stride=2), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        small = math.prod(-(-side // self.multiple) for side in shape[1:])
        self.neck = nn.Linear(widths[-1] * small, hidden)
        self.steer = nn.Linear(dim, 2 * hidden)
        self.head = nn.Linear(hidden, out)

    def forward(self, x: Tensor, level: Tensor, cond: Cond | None = None) -> Tensor:
        cond = complete(self.conds, cond, len(x), x.device)
        scale, shift = self.steer(self.embed(level, cond)).chunk(2, dim=1)  # (B, hidden) each
        h = self.body(padded(torch.cat(beside(x, self.conds, cond), dim=1), self.multiple))
        h = torch.addcmul(shift, self.neck(h), 1 + scale)
        return self.head(F.leaky_relu(h, SLOPE))  # (B, out)
