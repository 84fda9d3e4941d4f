"""How much of a batch may be in memory at once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .batches import Part

if TYPE_CHECKING:
    from .run import Run

AHEAD = 1.15  # of the activations: temporary tensors, and what an allocator leaves unused
SPARE = 0.9  # of the free memory that may be used


def fitting(run: "Run") -> int:
    """The largest of rows, rows / 2, rows / 4, ... (rounded up) of this process's share of a batch that fits; 1 at least.

    On a GPU by trying: forward and backward, halved for as long as memory runs out. Elsewhere, or with weights in parts, reckoned
    from the tensors that going forward keeps for two and for three samples, and the memory that is free. Nothing is learnt by it.
    """
    buffers = [*run.model.buffers(), *run.learner.objective.buffers()]
    before = [buffer.clone() for buffer in buffers]
    rows, most = run.rows.stop - run.rows.start, None
    if run.device.type != "cuda" or run.trainer.shard:
        two = activations(run, min(2, rows))
        each = max(activations(run, 3) - two if rows > 2 else two // 2, 1)
        weights = list(run.learner.named.values())
        left = SPARE * free(run.device) - 3 * sum(w.nbytes for w in weights)  # gradients and two moments are still to come
        most = max(int((left / AHEAD - two) / each) + 2, 1)
    while rows > 1 and not (rows <= most if most is not None else _tried(run, rows)):
        rows = -(-rows // 2)
    for buffer, kept in zip(buffers, before, strict=True):
        buffer.copy_(kept)
    return -run.ranks.agree(-rows)  # the least of all


def activations(run: "Run", rows: int) -> int:
    """Bytes that going forward keeps for going backward, for so many samples: each tensor's storage once, weights not."""
    own = {tensor.untyped_storage().data_ptr() for tensor in run.learner.tensors().values()}
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = run.losses(1, _part(run, rows)).sum()
    del loss  # only now: no two storages that it keeps may have had the same place
    return sum(seen.values())


def free(device: torch.device) -> int:
    """Bytes that are there now: of the device, or of this machine and what a container leaves of it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    path = Path("/proc/meminfo")
    lines = path.read_text("ascii").splitlines() if path.is_file() else []
    there = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return min([*there, *_limits()], default=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _limits() -> list[int]:
    """What a container leaves of its memory."""
    most, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    try:
        return [int(most.read_text()) - int(used.read_text())]
    except (OSError, ValueError):  # none, or "max"
        return []


def _tried(run: "Run", rows: int) -> bool:
    """Whether forward and backward through so many samples find room beside the moments that are still to come."""
    room = [torch.empty(2 * w.nbytes, dtype=torch.uint8, device=run.device) for w in run.learner.named.values()]
    try:
        run.losses(1, _part(run, rows)).sum().backward()
        return True
    except torch.OutOfMemoryError:
        return False
    finally:
        del room
        run.learner.optimizer.zero_grad()
        torch.cuda.empty_cache()


def _part(run: "Run", rows: int) -> Part:
    """The first rows of the first batch."""
    here = slice(0, rows)
    rng = run.order.rng(1)[here]
    return Part(here, run.dataset.batch(run.order.indices(1)[here], rng), rng)
