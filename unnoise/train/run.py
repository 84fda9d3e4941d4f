"""One run: a trainer at work on a model, in a folder. Begin or go on, gradients, checks, rows, checkpoints."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unnoise.tensor import Rng

from . import checkpoint, disk, rollback, snapshots
from .batches import Batch, Dataset, Order, Part, ahead, stream
from .learner import Learner, NonFinite, modules
from .log import Log
from .memory import fitting
from .ranks import Alone
from .resume import compare
from .weights import assign, nbytes, read_weights

if TYPE_CHECKING:
    from .trainer import Trainer

Objective = Callable[[nn.Module, Batch, Rng], Tensor]
Prepare = Callable[[Batch, Rng], Batch]


class Run:
    """What `Trainer.fit` moves from step to step; its arguments are those of `fit`."""

    def __init__(
        self,
        trainer: "Trainer",
        model: nn.Module,
        objective: Objective,
        dataset: Dataset,
        folder: Path,
        prepare: Prepare | None,
        device: torch.device,
        ranks: Alone | None = None,
    ) -> None:
        self.trainer, self.objective, self.dataset, self.prepare = trainer, objective, dataset, prepare
        self.folder, self.device, self.ranks = folder, device, ranks or Alone()
        self.rows = self.ranks.rows(trainer.batch)
        self.order = Order(len(dataset), trainer.batch, trainer.seed)
        # On an accelerator the device is not waited for, nor the data: both run ahead of the host.
        self.lazy = device.type != "cpu"
        self.bf16 = trainer.precision == "bf16" or (
            trainer.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
        )
        pictures = dataset.batch(torch.tensor([0]))["x"].ndim == 4
        wanted = self.lazy if trainer.channels_last == "auto" else trainer.channels_last
        self.channels_last = bool(wanted and pictures)
        if self.channels_last and not trainer.shard:  # what is parted has to lie in the order of its dimensions
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model, held = model.to(device).train(), modules(objective).to(device).train()
        self.learner = Learner(
            self.ranks.learnt(self.model, held),
            held,
            betas=trainer.betas,
            weight_decay=trainer.weight_decay,
            clip=trainer.clip or float("inf"),
            ema=trainer.ema,
            ema_warmup=trainer.ema_warmup,
            lengths=trainer.ema_lengths,
            shorten=self.ranks.clip,
        )
        self.saved = 0
        self.rollbacks: list[rollback.Rollback] = []
        self.origin: dict[str, Tensor] = {}  # what the run began with, to go back to before there is a checkpoint
        self.lap = (0, time.perf_counter())

    @cached_property
    def micro_batch(self) -> int:
        """Samples in memory at once, here."""
        rows, wanted = self.rows.stop - self.rows.start, self.trainer.micro_batch
        return fitting(self) if wanted == "auto" else min(wanted or rows, rows)

    @property
    def raw(self) -> nn.Module:
        """The model, for hooks."""
        return self.ranks.replica(self.learner.model) if self.trainer.shard else self.model

    @property
    def averaged(self) -> nn.Module:
        return self.ranks.replica(self.learner.average.module)

    @property
    def snapshot_bytes(self) -> int:
        """What all snapshots of the averages of several lengths will take on disk, in half precision."""
        return self.trainer.ema_snapshots * sum(nbytes(one.weights) for one in self.learner.powers) // 2

    def begin(
        self, init: Path | str | None, options: Mapping[str, Any], safe: Collection[str], say: Callable[[str], object]
    ) -> int:
        """Go on from the newest whole checkpoint, or begin; return the updates already made."""
        weights = self.ranks.whole(self.learner.tensors())
        self.facts = {"options": options, "machine": self._machine()}
        notes: list[str] = []

        def look() -> tuple[tuple[int, list[rollback.Rollback]], Mapping[str, Tensor]]:
            disk.sweep(self.folder)
            disk.sweep(self.folder / "state")
            # Two checkpoints, each with as much again in moments.
            disk.demand_room(self.folder, 4 * nbytes(weights) + self.snapshot_bytes)
            if not (found := checkpoint.latest(self.folder, notes.append)):
                return (0, rollback.read(self.folder)), {}
            notes.extend(compare(found.state["options"], options, safe))
            notes.extend(_moved(found.state["machine"], self.facts["machine"]))
            return (found.step, rollback.read(self.folder, found.state.get("rollbacks", ()))), found.tensors

        (self.saved, self.rollbacks), tensors = self.ranks.spread(look)
        if self.saved:
            self.learner.restore(tensors, f"{self.folder / 'state' / f'step-{self.saved}'}")
            say(f"resumes at {self.saved:,} of {self.trainer.steps:,}: {self.folder}")
        else:
            if init is not None:
                self._start_from(Path(init))
            say(f"new run: {self.trainer.steps:,} steps of {self.trainer.batch} on {self._where()}: {self.folder}")
            if self.trainer.rollbacks:
                self.origin = {name: tensor.detach().cpu().clone() for name, tensor in self.learner.tensors().items()}
        if self.rollbacks:
            lowered = rollback.scale(self.rollbacks, self.trainer.steps)
            notes += [f"it has gone back {len(self.rollbacks)} times: the learning rate is {lowered:g} of what the recipe says"]
        if self.trainer.micro_batch == "auto":
            notes += [f"{self.micro_batch} samples in memory at once"]
        for note in notes:
            say(note)
        self.lap = (self.saved, time.perf_counter())
        return self.saved

    def batches(self, start: int) -> Iterator[tuple[int, Iterator[Part]]]:
        """The steps after `start`, each with the parts of its batch."""
        steps, micro = range(start + 1, self.trainer.steps + 1), self.micro_batch
        parts = stream(self.dataset, self.order, steps, micro, pin=self.device.type == "cuda", rows=self.rows)
        parts = ahead(parts) if self.lazy else parts
        for step in steps:
            yield step, islice(parts, -(-(self.rows.stop - self.rows.start) // micro))

    def gradients(self, step: int, parts: Iterator[Part]) -> Tensor:
        """Forward and backward through a batch, part by part; return its mean loss."""
        self.learner.optimizer.zero_grad()
        loss = torch.zeros((), device=self.device)
        for part in parts:
            share = self.losses(step, part).sum() / self.trainer.batch
            (share * self.ranks.scale).backward()
            loss += share.detach()
        return self.ranks.total(loss)

    def losses(self, step: int, part: Part) -> Tensor:
        """Forward through a part of a batch: the loss of each of its rows."""
        rng = self.order.rng(step, self.device)[part.rows] if self.lazy else part.rng
        self._seed_dropout(step, part.rows.start)
        batch = self._to_device(part.batch, rng)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            losses = self.objective(self.model, batch, rng)
        if losses.shape != (len(rng),):
            raise ValueError(f"the objective gave losses of shape {tuple(losses.shape)}; expected ({len(rng)},)")
        return losses

    def check(self) -> None:
        """Raise NonFinite if a step had a loss or gradient that is not finite; nothing has changed since."""
        if not (step := self.learner.first_bad_step()):
            return
        indices = self.order.indices(step)
        x = self.dataset.batch(indices, self.order.rng(step))["x"].reshape(len(indices), -1)
        items = indices[~torch.isfinite(x).all(1)].unique().tolist()
        culprit = f"'x' of items {items[:8]}" if items else self.ranks.any(self.learner.culprit())
        self._stop(step, f"{culprit} is not finite", lasting=bool(items))

    def rate(self, step: int) -> float:
        """The learning rate of update number `step`: the trainer's, lowered by each time that the run went back before it."""
        return self.trainer.rate(step) * rollback.scale(self.rollbacks, step)

    def tell(self, step: int, log: Log) -> None:
        """Have the log tell of every time that the run went back to this step."""
        if self.rollbacks:
            log.roll_back(self.rollbacks, step)

    def go_back(self, error: NonFinite, log: Log, say: Callable[[str], object]) -> int:
        """Go back to the newest checkpoint, or to the beginning, to go on at a lower rate; return the updates made there.

        Raises:
            NonFinite: The error itself, where that is not wanted, was done often enough, or cannot help.
        """
        limit = self.trainer.rollbacks
        if len(self.rollbacks) >= limit or error.lasting:
            raise error
        step, tensors = self.ranks.spread(lambda: self._newest(error, say)) if self.saved else (0, self.origin)
        back = rollback.Rollback(error.step, step, self.trainer.rollback_rate, error.what)
        made = sorted([*self.rollbacks, back], key=lambda one: one.to)  # of equals the newer is later
        self.ranks.by_first(lambda: rollback.write(self.folder, made))
        self.rollbacks, self.saved = made, step
        log.rewind(step)
        self.learner.restore(tensors, f"{self.folder}, step {step}")
        self.lap = (step, time.perf_counter())
        rate = f"lr {self.rate(step + 1):.3g}"
        say(f"step {error.step}: {error.what}; back to step {step}, and on at {rate} ({len(made)} of {limit} times)")
        return step

    def _newest(self, error: NonFinite, say: Callable[[str], object]) -> tuple[int, Mapping[str, Tensor]]:
        found = checkpoint.latest(self.folder, say)
        if not found:
            raise error
        return found.step, found.tensors

    def row(self, step: int, log: Log) -> float:
        """Write the log's row of this step, means since the last one; return the loss."""
        (before, then), now = self.lap, time.perf_counter()
        self.lap = (step, now)
        clock = {"images_per_s": round((step - before) * self.trainer.batch / (now - then), 2)}
        means = self.learner.means()
        log.row(step, clock, **means, lr=self.rate(step), ema=self.learner.average.decay(step))
        return means["loss"]

    def save(self, step: int, log: Log) -> None:
        """Write this step's checkpoint, unless it exists; remove older ones once it has proved whole."""
        if step == self.saved:
            return
        self.check()
        if name := self.ranks.any(self.learner.nonfinite_weight()):  # an update can overflow though loss and gradient were finite
            self._stop(step, f"the weight '{name}' is not finite after the update")
        log.sync()

        def write(tensors: Mapping[str, Tensor]) -> None:
            told = {"rollbacks": rollback.plain(self.rollbacks)} if self.rollbacks else {}
            checkpoint.save(self.folder, step, tensors, {**self.facts, **told})
            checkpoint.prune(self.folder, step, self.trainer.keep)

        self.ranks.write(self.learner.tensors(), write)
        self.saved, self.origin = step, {}

    def keep_averages(self, step: int) -> None:
        """Write a snapshot of the averages whose length is chosen later, if there are any and one is due."""
        powers = self.learner.powers
        if powers and snapshots.due(step, self.trainer.steps, self.trainer.ema_snapshots):
            self.check()
            snapshots.keep(self.folder, step, powers, self.ranks)

    def _stop(self, step: int, what: str, lasting: bool = False) -> None:
        good = f"the last good checkpoint is step-{self.saved}" if self.saved else "there is no checkpoint yet"
        often = f" after {len(self.rollbacks)} times back" if self.rollbacks else ""
        line = f"step {step}: {what} (lr {self.rate(step):.3g}{often}); nothing of it was saved, {good}"
        raise NonFinite(f"{line}; mend the data, or lower lr or clip", step, what, lasting)

    def _start_from(self, path: Path) -> None:
        """Begin with the weights of another run, raw and averaged alike."""
        path = path / "weights.safetensors" if path.is_dir() else path
        _, tensors = self.ranks.spread(lambda: (None, read_weights(path)[0]))
        assign(self.learner.model, tensors, str(path))
        assign(self.learner.average.module, tensors, str(path))

    def _to_device(self, batch: Batch, rng: Rng) -> Batch:
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        if self.prepare:
            batch = dict(self.prepare(batch, rng))
        if self.channels_last and batch["x"].ndim == 4:
            batch["x"] = batch["x"].contiguous(memory_format=torch.channels_last)
        return batch

    def _seed_dropout(self, step: int, row: int) -> None:
        """Key what layers draw from torch's own generators, which keep a state, by step and place in the batch."""
        text = f"{self.trainer.seed} dropout {step} {row}".encode()
        key = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1
        torch.default_generator.manual_seed(key)
        if self.lazy:
            torch.get_device_module(self.device).manual_seed(key)

    def _machine(self) -> dict[str, Any]:
        several = {"processes": self.ranks.world} if self.ranks.world > 1 else {}
        return {"device": self.device.type, "threads": torch.get_num_threads(), "torch": torch.__version__, **several}

    def _where(self) -> str:
        return f"{self.device.type} of {self.ranks.world} processes" if self.ranks.world > 1 else f"{self.device}"


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each thing of the machine that decides bits and is not what it was."""
    return [
        f"{name} was {old.get(name, 1)}, is now {new.get(name, 1)}: bits may differ from an uninterrupted run's"
        for name in {**old, **new}
        if old.get(name, 1) != new.get(name, 1)
    ]
