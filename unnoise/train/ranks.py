"""One run over several processes, as torchrun starts them. This room alone knows that there may be others.

Each process computes its own rows of every batch; the sums of their gradients, and so every update, are those of one process.
Draws are keyed by the row in the whole batch, so that what is learnt does not depend on how many there are. The first process
alone writes: log, hooks, checkpoints.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from .heartbeat import Heartbeat
from .learner import shortened

Small = TypeVar("Small")
Tensors = Mapping[str, Tensor]

BUCKET = 25_000_000  # bytes of gradients that travel together
DAY = timedelta(days=1)  # of a collective: that somebody is gone is told by the heartbeat


class Quiet:
    """Stands for what only the first process has: takes every call and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **keywords: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Alone:
    """One process: all rows are its own, and there is nobody to ask or to tell."""

    rank = 0
    world = 1
    scale = 1  # of the losses, before going backward

    @property
    def first(self) -> bool:
        return self.rank == 0

    def only(self, make: Callable[[], AbstractContextManager[Any]]) -> AbstractContextManager[Any]:
        """The same on the first process; on the others something quiet."""
        return make() if self.first else Quiet()

    def by_first(self, work: Callable[[], object]) -> None:
        """Work that the first process does, and no other."""
        if self.first:
            work()

    def turn(self) -> AbstractContextManager[None]:
        """What the first process of each machine does before the others of it: they find it in the cache."""
        return _nothing()

    def rows(self, batch: int) -> slice:
        """Those of a batch that this process computes."""
        if batch < self.world:
            raise ValueError(f"a batch of {batch} over {self.world} processes; expected a row for each")
        return slice(self.rank * batch // self.world, (self.rank + 1) * batch // self.world)

    def wait(self) -> None:
        """For all to come here."""

    def part(self) -> None:
        """All have agreed to stop: wait for the first, which may still be saving."""

    def learnt(self, model: nn.Module, objective: nn.Module) -> nn.Module:
        """Begin with the weights of the first; return the module whose parameters this process updates."""
        return model

    def total(self, loss: Tensor) -> Tensor:
        """The loss and the gradients, of all."""
        return loss

    def clip(self, weights: Iterable[Tensor], most: float) -> Tensor:
        return shortened(weights, most)

    def agree(self, number: int) -> int:
        """The greatest of all."""
        return number

    def any(self, what: str | None) -> str | None:
        """What the lowest says that has something to say."""
        return what

    def spread(self, make: Callable[[], tuple[Small, Tensors]]) -> tuple[Small, Tensors]:
        """What the first makes, for all: something small, and tensors, of which each gets its part."""
        return make()

    def whole(self, tensors: Tensors) -> Tensors:
        """Tensors that may lie in parts as ones that gather themselves when written (`full_tensor`)."""
        return tensors

    def write(self, tensors: Tensors, work: Callable[[Tensors], object]) -> None:
        """`work` on whole tensors, by the first."""
        self.by_first(lambda: work(tensors))

    def replica(self, module: nn.Module) -> nn.Module:
        """A module that the first can call by itself."""
        return module


class Several(Alone):
    """Several processes, each with a whole model: gradients are summed, as by DistributedDataParallel, after going backward.

    Buffers that a step changes (running statistics) become those of the first process, as there; but what an objective
    learns from its own losses (it has `hear`) it learns from those of all, at the end of the step.

    Reference: Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel Training, 2020, section 3.2.
    arXiv:2006.15704
    """

    def __init__(self, rank: int, world: int, local: int, device: torch.device) -> None:
        self.rank, self.world, self.local, self.device = rank, world, local, device
        self.parted = False
        self.weights: list[Tensor] = []
        self.buffers: list[Tensor] = []
        self.untouched: set[int] | None = None  # weights that have no gradient, by index; None: before the first step
        self.changing: list[int] | None = None  # buffers that a step changes

    @contextmanager
    def turn(self) -> Iterator[None]:
        if self.local:
            self.wait()
        yield
        if not self.local:
            self.wait()

    def wait(self) -> None:
        torch.distributed.barrier()

    def part(self) -> None:
        self.wait()
        self.parted = True

    def learnt(self, model: nn.Module, objective: nn.Module) -> nn.Module:
        tensors = [*model.parameters(), *objective.parameters(), *model.buffers(), *objective.buffers()]
        for tensor in tensors:
            _hand_out(tensor)
        self.weights = [weight for weight in (*model.parameters(), *objective.parameters()) if weight.requires_grad]
        self.buffers = [*model.buffers(), *objective.buffers()]
        self.versions = [buffer._version for buffer in self.buffers]
        self.listeners: list[Any] = [one for one in objective.modules() if hasattr(one, "hear")]
        for one in self.listeners:
            one.heard = []
        return model

    def total(self, loss: Tensor) -> Tensor:
        self.sum([loss, *self._gradients()])
        self._hear()
        self._share_buffers()
        return loss

    def sum(self, tensors: list[Tensor]) -> None:
        """Each becomes its sum over the processes; small ones travel together."""
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            torch.distributed.all_reduce(flat)
            for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def agree(self, number: int) -> int:
        asked = torch.tensor(number)
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        return int(asked)

    def any(self, what: str | None) -> str | None:
        said: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(said, what)
        return next((text for text in said if text), None)

    def spread(self, make: Callable[[], tuple[Small, Tensors]]) -> tuple[Small, Tensors]:
        made: Any = None, {}
        if self.first:
            made = make()
        told = [made[0], [(name, tensor.shape, tensor.dtype) for name, tensor in made[1].items()]]
        torch.distributed.broadcast_object_list(told, 0)
        tensors = {}
        for name, shape, dtype in told[1]:
            tensor = made[1][name].contiguous() if self.first else torch.empty(shape, dtype=dtype)
            torch.distributed.broadcast(tensor, 0)
            tensors[name] = self.mine(name, tensor)
        return told[0], tensors

    def mine(self, name: str, tensor: Tensor) -> Tensor:
        """What of a tensor of a checkpoint lies here."""
        return tensor

    def _gradients(self) -> list[Tensor]:
        """Of the weights that have one anywhere, as zeros where they have none here."""
        found = [weight.grad is not None for weight in self.weights]
        if self.untouched is None:
            flags = torch.tensor(found, dtype=torch.int64)
            torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
            self.untouched = set((flags == 0).nonzero()[:, 0].tolist())
        elif any(found[k] for k in self.untouched):
            raise ValueError(
                "a weight had its first gradient after the first step; over several processes all learn from the first on"
            )
        for k, weight in enumerate(self.weights):
            if weight.grad is None and k not in self.untouched:
                weight.grad = torch.zeros_like(weight)
        return [weight.grad for weight in self.weights if weight.grad is not None]

    def _hear(self) -> None:
        for one in self.listeners:
            said: list[Any] = [None] * self.world
            torch.distributed.all_gather_object(said, [[row.cpu() for row in rows] for rows in one.heard])
            one.heard.clear()
            if told := [rows for rank in said for rows in rank]:  # in the order of the batch
                one.hear(*(torch.cat(rows) for rows in zip(*told, strict=True)))

    def _share_buffers(self) -> None:
        if self.changing is None:
            changed = [int(buffer._version > seen) for buffer, seen in zip(self.buffers, self.versions, strict=True)]
            flags = torch.tensor(changed, dtype=torch.int64)
            torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
            self.changing = flags.nonzero()[:, 0].tolist()
        for k in self.changing:
            _hand_out(self.buffers[k])


_joined: Several | None = None


@contextmanager
def joined(device: torch.device, *, shard: bool = False, patience: float = 60.0) -> Iterator[Alone]:
    """The processes that torchrun has started, joined for as long as this lasts; `Alone` for one. May be nested.

    Args:
        device: On which this process computes.
        shard: Whether weights and all that belongs to them lie in parts (`Sharded`).
        patience: Seconds without a sign of life of one, after which all end.

    Raises:
        SystemExit: In place of an error that another process says, or of a stop that all agreed on.
    """
    global _joined
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1 or _joined:
        yield _joined or Alone()
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
    beat = _meet(rank, world, device, patience)
    from .sharded import Sharded

    _joined = (Sharded if shard else Several)(rank, world, local, device)
    try:
        yield _joined
        _joined.wait()
        beat.end()
        torch.distributed.destroy_process_group()
    except (SystemExit, KeyboardInterrupt) as left:
        if _joined.parted:
            beat.end()
        else:  # a second Ctrl-C
            beat.announce("interrupted")
        if rank == 0 or isinstance(left, SystemExit):
            raise
        raise SystemExit(130) from None
    except Exception as error:
        if _broken(error):
            beat.hurry()
        if not beat.announce(str(error)):
            raise SystemExit(2 if isinstance(error, ValueError) else 1) from None
        raise
    finally:
        _joined = None


def _broken(error: Exception) -> bool:
    """Whether a connection to another process has broken."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def _meet(rank: int, world: int, device: torch.device, patience: float) -> Heartbeat:
    import torch.distributed as dist

    # One store for all: torchrun's own, or else one that the first process keeps.
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, world, not served and rank == 0, timedelta(seconds=300), wait_for_workers=False)
    life = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # after a restart all begin anew beside what is left of before
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    group = dist.PrefixStore(f"unnoise/{life}/group", store)
    dist.init_process_group(backend, store=group, rank=rank, world_size=world, timeout=DAY)
    own = store.clone()  # type: ignore[attr-defined]
    own.set_timeout(timedelta(seconds=patience))
    return Heartbeat(dist.PrefixStore(f"unnoise/{life}/life", own), rank, world, patience)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _hand_out(tensor: Tensor) -> None:
    """It becomes that of the first process, in whatever order it lies in memory."""
    flat = tensor.detach().contiguous()
    torch.distributed.broadcast(flat, 0)
    tensor.detach().copy_(flat)


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type, up to a bucket's bytes."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or sum(t.nbytes for t in bucket) + tensor.nbytes > BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
