"""A small autoencoder of the data's own, for data without classes: its code is where sets are compared.

It never takes part in generation and shares nothing with the diffusion model: own network, own training, own randomness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.metric.features.base import Stored, batches, initialise, layer, pooled, standardise
from unnoise.tensor import Rng

FEATURES = 64
SIDE = 64  # larger pictures are averaged down to this
WIDTH = 24
NOISE = 0.1  # deviations, added to what it sees in training: near pictures get near codes


class Autoencoder(Stored):
    """Convolutions down to a code of 64 numbers and up again; the sides are halved until the shorter is below 8.

    Args:
        shape: Of one picture, (C, H, W), H and W at least 8.
        data: What it was trained on, as a digest; kept in its file.

    Raises:
        ValueError: For another shape.
    """

    kind, facts = "autoencoder", ("shape", "data")
    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int], data: str = "") -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 8:
            raise ValueError(f"shape {tuple(shape)}: the autoencoder takes pictures (C, H, W) of at least 8 x 8")
        self.shape, self.data = tuple(shape), data
        self.register_buffer("mean", torch.zeros(shape[0], 1, 1))
        self.register_buffer("std", torch.ones(shape[0], 1, 1))
        sides = [min(SIDE, side) for side in shape[1:]]
        width = WIDTH
        down: list[nn.Module] = [layer(shape[0], WIDTH)]
        up: list[nn.Module] = [nn.Conv2d(WIDTH, shape[0], 3, padding=1)]
        while min(sides) >= 8:
            down += [nn.AvgPool2d(2, ceil_mode=True), layer(width, 2 * width)]
            up = [nn.Upsample(size=tuple(sides)), layer(2 * width, width), *up]
            width, sides = 2 * width, [-(-side // 2) for side in sides]
        self.down = nn.Sequential(*down, nn.Flatten(), nn.Linear(width * math.prod(sides), FEATURES))
        self.up = nn.Sequential(nn.Linear(FEATURES, width * math.prod(sides)), nn.ReLU(), nn.Unflatten(1, (width, *sides)), *up)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures as they come back from their codes, at most 64 x 64, in deviations from the mean."""
        return self.up(self.down(self.scaled(x)))

    def scaled(self, x: Tensor) -> Tensor:
        """Pictures as the network sees them."""
        return (pooled(x, SIDE) - self.mean) / self.std

    def features(self, x: Tensor) -> Tensor:
        """The codes of pictures, (B, 64)."""
        return self.whole(lambda part: self.down(self.scaled(part)), x)


def train_autoencoder(x: Tensor, *, steps: int = 800, batch: int = 64, lr: float = 2e-3, seed: int = 0) -> Autoencoder:
    """An autoencoder of pictures x, (N, C, H, W), in training for `steps` batches: the mean square of what does not come back.

    Everything is a function of the arguments; the global random state is left as it is. AdamW, one cycle of learning rates.
    """
    with torch.random.fork_rng(devices=[]):
        made = Autoencoder(x.shape[1:])
    initialise(made, Rng(seed))
    standardise(made, x)
    optimizer = torch.optim.AdamW(made.parameters(), lr=lr, weight_decay=0.01, betas=(0.9, 0.98))
    made.train()
    for step, rows in batches(len(x), batch, steps, seed, "autoencoder order"):
        optimizer.param_groups[0]["lr"] = lr * min(5 * step / steps, (1 + math.cos(math.pi * step / steps)) / 2)
        seen = made.scaled(x[rows])
        noise = Rng(seed, torch.arange(len(seen))).at(step).normal(seen.shape[1:], "autoencoder")
        loss = F.mse_loss(made.up(made.down(seen + NOISE * noise)), seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return made.eval()
