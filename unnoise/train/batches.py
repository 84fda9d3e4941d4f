"""The order of the data: a function of (seed, epoch), so that where a run stands is told by its step alone."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from unnoise.tensor import Rng, permutation

Batch = Mapping[str, Tensor]


class Dataset(Protocol):
    """Items by index, already batched: {"x": (B, ...), and conditions}."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor, rng: Rng | None = None) -> Batch: ...


@dataclass(frozen=True)
class Order:
    """Which items each step sees: an endless stream of epochs, each a permutation of its own, cut into batches.

    A batch may span epochs, so no item is left out and a dataset may be smaller than a batch. Every draw of step k is
    keyed by (seed, position in the batch, k), never by which process or part of the batch asks.
    """

    items: int
    batch: int
    seed: int

    def indices(self, step: int) -> Tensor:
        """The items of update number `step` (1 is the first), (batch,)."""
        position = torch.arange((step - 1) * self.batch, step * self.batch)
        epoch = position // self.items
        items = torch.empty_like(position)
        for e in range(int(epoch[0]), int(epoch[-1]) + 1):
            here = epoch == e
            items[here] = _shuffle(self.items, self.seed, e)[position[here] - e * self.items]
        return items

    def rng(self, step: int, device: torch.device | str = "cpu") -> Rng:
        """The randomness of update number `step`, a stream for each position in the batch."""
        return Rng(self.seed, torch.arange(self.batch), device).at(step)


@dataclass(frozen=True)
class Part:
    """The rows of a batch that are in memory at once, and their randomness."""

    rows: slice
    batch: Batch
    rng: Rng


def stream(
    dataset: Dataset, order: Order, steps: range, micro_batch: int, pin: bool = False, rows: slice | None = None
) -> Iterator[Part]:
    """The batches of `steps`, or some rows of each, in parts of at most `micro_batch`, each augmented by its rows' own keys."""
    here = rows or slice(0, order.batch)
    for step in steps:
        indices, rng = order.indices(step), order.rng(step)
        for start in range(here.start, here.stop, micro_batch):
            part = slice(start, min(start + micro_batch, here.stop))
            batch = dataset.batch(indices[part], rng[part])
            yield Part(part, {k: v.pin_memory() for k, v in batch.items()} if pin else batch, rng[part])


def ahead(parts: Iterator[Part]) -> Iterator[Part]:
    """The same parts, each fetched by a thread while the one before it is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = pool.submit(next, parts, None)
            yield part


@lru_cache(2)  # a batch may span two epochs
def _shuffle(items: int, seed: int, epoch: int) -> Tensor:
    return permutation(items, seed, "order", epoch)
