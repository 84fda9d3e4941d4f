"""What sets of samples are compared by: a name, a digest of what it computes with, and a row of numbers for each sample."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.tensor import Rng


class Features(Protocol):
    """A plug: anything with these three. Two numbers are comparable only under the same name and digest."""

    @property
    def name(self) -> str:
        """What they are, in a word."""
        ...

    @property
    def digest(self) -> str:
        """Of the weights, "" where there are none."""
        ...

    def features(self, x: Tensor) -> Tensor:
        """Of samples x, (B, *shape) with pictures in [-1, 1], as rows, (B, D)."""
        ...


@dataclass(frozen=True)
class Raw:
    """The values themselves."""

    name: str = "raw"
    digest: str = ""

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@dataclass(frozen=True)
class Pooled:
    """Pictures averaged down to at most `side` pixels a side; what is no picture is left as it is."""

    side: int = 16
    digest: str = ""

    @property
    def name(self) -> str:
        return f"pooled{self.side}"

    def features(self, x: Tensor) -> Tensor:
        return (pooled(x, self.side) if x.ndim == 4 else x).flatten(1)


def pooled(x: Tensor, side: int) -> Tensor:
    """Pictures averaged down to at most `side` pixels a side."""
    if max(x.shape[2:]) <= side:
        return x
    return F.adaptive_avg_pool2d(x, (min(side, x.shape[2]), min(side, x.shape[3])))


def initialise(network: nn.Module, rng: Rng) -> None:
    """Weights of variance 2 / fan-in (He et al., 2015, eq. 10), each drawn by its name. arXiv:1502.01852"""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1:
                weight.copy_(rng.normal(weight.shape, name)[0] * (2 / weight[0].numel()) ** 0.5)


def digest(network: nn.Module) -> str:
    """Of a network's weights and buffers, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
