"""How a model is sampled unless told otherwise, and the batches that this makes."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Defaults:
    """How a model is sampled unless told otherwise.

    Args:
        steps: Times in a walk.
        batch: Samples that are computed together: always so many, the last batch filled up, because a network's arithmetic
            depends on the size of its batch. With it and the number of threads a picture is the same to the bit in any company.
    """

    steps: int = 20
    batch: int = 16

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")


def full_batches(n: int, size: int) -> Iterator[list[int]]:
    """Rows 0 .. n - 1 in batches of just this size; the last is filled up with its last row."""
    for first in range(0, n, size):
        yield [min(first + i, n - 1) for i in range(size)]
