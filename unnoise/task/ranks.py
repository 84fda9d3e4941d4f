"""One task over several processes, as torchrun starts them: work goes round by blocks, and comes together in order on the first.

A process alone is rank 0 of 1. Blocks are the same whatever their number, and a sample is a function of its seed, so that files
and numbers are the same too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

Block = TypeVar("Block")
Made = TypeVar("Made")
_alone = False


def rank() -> int:
    """Of this process."""
    return 0 if _alone else int(os.environ.get("RANK", 0))


def world() -> int:
    """How many processes there are."""
    return 1 if _alone else int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def alone() -> Iterator[None]:
    """As if this process were the only one: for what one does after the others have gone."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


@contextmanager
def group() -> Iterator[None]:
    """Joins the processes, by gloo, for as long as this lasts; nothing for one alone, or where they are joined already."""
    import torch.distributed as dist

    if world() == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("gloo")
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def each(blocks: Sequence[Block], make: Callable[[Block], Made]) -> Iterator[Made]:
    """What `make` gives for each block, in order, on the first rank; nothing on the others, which have a share in the making.

    As many blocks as there are ranks are in memory at once.
    """
    import torch.distributed as dist

    if world() == 1:
        yield from map(make, blocks)
        return
    for first in range(0, len(blocks), world()):
        mine = first + rank()
        made = make(blocks[mine]) if mine < len(blocks) else None
        found: list[Any] = [None] * world()
        dist.gather_object(made, found if rank() == 0 else None)
        if rank() == 0:
            yield from found[: len(blocks) - first]
