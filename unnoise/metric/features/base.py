"""What sets of samples are compared by: a name, a digest of what it computes with, and a row of numbers for each sample."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.tensor import Rng, permutation

CHUNK = 64  # pictures in one evaluation: so few stay in the cache of a processor


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


class Stored(nn.Module):
    """A network of the data's own that is one safetensors file; what its constructor takes stands in the header as JSON.

    Attributes:
        kind: What it is, in a word; also the name of its features.
        facts: Names of the constructor's arguments, all of them attributes.
    """

    kind: ClassVar[str]
    facts: ClassVar[tuple[str, ...]]
    shape: tuple[int, ...]  # of one picture
    data: str  # what it was trained on, as a digest

    @property
    def name(self) -> str:
        """Of its features."""
        return self.kind

    @cached_property
    def digest(self) -> str:
        """Of its weights; asked for once they are trained."""
        return digest(self)

    def whole(self, of: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """A function of pictures, as in use rather than in training, a part at a time, channels last: the quickest order."""
        was = self.training
        self.eval()
        with torch.no_grad():
            y = torch.cat([of(part.contiguous(memory_format=torch.channels_last)) for part in x.split(CHUNK)])
        self.train(was)
        return y

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        from safetensors.torch import save

        draft = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        facts = {"kind": self.kind} | {name: json.dumps(getattr(self, name)) for name in self.facts}
        draft.write_bytes(save({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, facts))
        os.replace(draft, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote; ValueError for another file."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                facts = file.metadata() or {}
                made = cls(*(json.loads(facts[name]) for name in cls.facts))
                made.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"{path}: not the file of features of the kind {cls.kind} ({error})") from error
        return made.eval()


def standardise(network: Any, x: Tensor) -> None:
    """Tells a network the mean and the deviation of each channel of its pictures."""
    network.mean.copy_(x.mean((0, 2, 3)).reshape(-1, 1, 1))
    network.std.copy_(x.std((0, 2, 3)).clamp(min=1e-3).reshape(-1, 1, 1))


def batches(n: int, size: int, steps: int, seed: int, purpose: str) -> Iterator[tuple[int, Tensor]]:
    """The step and the rows of its batch: epochs in keyed orders, one after another."""
    order, epoch = torch.zeros(0, dtype=torch.long), 0
    for step in range(steps):
        while len(order) < size:
            order, epoch = torch.cat([order, permutation(n, seed, purpose, epoch)]), epoch + 1
        yield step, order[:size]
        order = order[size:]


def layer(inputs: int, outputs: int) -> nn.Module:
    """Convolution, normalisation, activation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def pooled(x: Tensor, side: int) -> Tensor:
    """Pictures averaged down to at most `side` pixels a side."""
    if max(x.shape[2:]) <= side:
        return x
    return F.adaptive_avg_pool2d(x, (min(side, x.shape[2]), min(side, x.shape[3])))


def initialise(network: nn.Module, rng: Rng) -> None:
    """Weights of variance 2 / fan-in (He et al., 2015, eq. 10), each drawn by its name; biases 0. arXiv:1502.01852"""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1:
                weight.copy_(rng.normal(weight.shape, name)[0] * (2 / weight[0].numel()) ** 0.5)
            elif name.endswith("bias"):
                weight.zero_()


def digest(network: nn.Module) -> str:
    """Of a network's weights and buffers, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
