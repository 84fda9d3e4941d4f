"""A small autoencoder of the data's own, for data without classes: its code is where sets are compared.

It never takes part in generation and shares nothing with the diffusion model: own network, own training, own randomness.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.metric.features.base import digest, initialise, pooled
from unnoise.tensor import Rng, permutation

FEATURES = 64
SIDE = 64  # larger pictures are averaged down to this
CHUNK = 512  # pictures in one evaluation
WIDTH = 24
NOISE = 0.1  # deviations, added to what it sees in training: near pictures get near codes


class Autoencoder(nn.Module):
    """Convolutions down to a code of 64 numbers and up again; the sides are halved until the shorter is below 8.

    Args:
        shape: Of one picture, (C, H, W), H and W at least 8.
        data: What it was trained on, as a digest; kept in its file.

    Raises:
        ValueError: For another shape.
    """

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
        down: list[nn.Module] = [_layer(shape[0], WIDTH)]
        up: list[nn.Module] = [nn.Conv2d(WIDTH, shape[0], 3, padding=1)]
        while min(sides) >= 8:
            down += [nn.AvgPool2d(2, ceil_mode=True), _layer(width, 2 * width)]
            up = [nn.Upsample(size=tuple(sides)), _layer(2 * width, width), *up]
            width, sides = 2 * width, [-(-side // 2) for side in sides]
        self.down = nn.Sequential(*down, nn.Flatten(), nn.Linear(width * math.prod(sides), FEATURES))
        self.up = nn.Sequential(nn.Linear(FEATURES, width * math.prod(sides)), nn.ReLU(), nn.Unflatten(1, (width, *sides)), *up)

    @property
    def name(self) -> str:
        """Of its features."""
        return "autoencoder"

    @cached_property
    def digest(self) -> str:
        """Of its weights; asked for once they are trained."""
        return digest(self)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures as they come back from their codes, at most 64 x 64, in deviations from the mean."""
        return self.up(self.down(self.scaled(x)))

    def scaled(self, x: Tensor) -> Tensor:
        """Pictures as the network sees them."""
        return (pooled(x, SIDE) - self.mean) / self.std

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """The codes of pictures, (B, 64)."""
        was = self.training
        self.eval()
        y = torch.cat([self.down(self.scaled(part)) for part in x.split(CHUNK)])
        self.train(was)
        return y

    def save(self, path: Path) -> None:
        """One safetensors file, whole or absent; what the constructor takes stands in its header as JSON."""
        from safetensors.torch import save

        draft = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        facts = {"kind": "autoencoder", "shape": json.dumps(self.shape), "data": json.dumps(self.data)}
        draft.write_bytes(save({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, facts))
        os.replace(draft, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote; ValueError for another file."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                facts = file.metadata() or {}
                made = cls(*(json.loads(facts[name]) for name in ("shape", "data")))
                made.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"{path}: not an autoencoder's file ({error})") from error
        return made.eval()


def train_autoencoder(x: Tensor, *, steps: int = 800, batch: int = 64, lr: float = 2e-3, seed: int = 0) -> Autoencoder:
    """An autoencoder of pictures x, (N, C, H, W), in training for `steps` batches: the mean square of what does not come back.

    Everything is a function of the arguments; the global random state is left as it is. AdamW, one cycle of learning rates.
    """
    with torch.random.fork_rng(devices=[]):
        made = Autoencoder(x.shape[1:])
    initialise(made, Rng(seed))
    made.mean.copy_(x.mean((0, 2, 3)).reshape(-1, 1, 1))
    made.std.copy_(x.std((0, 2, 3)).clamp(min=1e-3).reshape(-1, 1, 1))
    optimizer = torch.optim.AdamW(made.parameters(), lr=lr, weight_decay=0.01, betas=(0.9, 0.98))
    made.train()
    order, epoch = torch.zeros(0, dtype=torch.long), 0
    for step in range(steps):
        while len(order) < batch:
            order, epoch = torch.cat([order, permutation(len(x), seed, "autoencoder order", epoch)]), epoch + 1
        rows, order = order[:batch], order[batch:]
        optimizer.param_groups[0]["lr"] = lr * min(5 * step / steps, (1 + math.cos(math.pi * step / steps)) / 2)
        seen = made.scaled(x[rows])
        noise = Rng(seed, torch.arange(len(seen))).at(step).normal(seen.shape[1:], "autoencoder")
        loss = F.mse_loss(made.up(made.down(seen + NOISE * noise)), seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return made.eval()


def _layer(inputs: int, outputs: int) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())
