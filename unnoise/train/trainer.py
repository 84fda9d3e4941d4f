"""The trainer: batches in, an averaged model out. It knows steps; what is learnt is the objective's affair."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import nn

from .batches import Dataset
from .learner import NonFinite
from .lock import Stop, claim, stoppable
from .log import Log, Progress
from .power import exponent
from .ranks import joined
from .resume import SAFE, plain
from .run import Objective, Prepare, Run


@dataclass(frozen=True)
class State:
    """What a hook sees after an update.

    Args:
        step, steps: Updates made, and all there will be.
        model, averaged: The raw model (in training mode) and the averaged one; a hook leaves the weights as they are.
        folder: The run's folder.
        log: `log(name=value, ...)` writes a row of this step.
    """

    step: int
    steps: int
    model: nn.Module
    averaged: nn.Module
    folder: Path
    log: Callable[..., None]


HOOKED = ("preview_every", "validate_every", "health_every")
KEPT = ("train.Trainer.ema_lengths", "train.Trainer.ema_snapshots")
LATER = {  # options that older runs did not know, as those were
    "train.Trainer.shard": False,
    "train.Trainer.patience": 60.0,
    "train.Trainer.rollbacks": 0,
    "train.Trainer.rollback_rate": 0.5,
}


class Hook(Protocol):
    """Called after every `every`-th update (0: none) and after the last one."""

    @property
    def every(self) -> int: ...

    def __call__(self, state: State) -> None: ...


@dataclass(frozen=True)
class Trainer:
    """Trains a model by AdamW and returns the average of its weights. One step is one update.

    The learning rate of update k = 1 .. steps, with k' = k - 1 updates behind it, is a function of k alone:

        rate = lr min(1, k / warmup) f(p),   p = max(0, k' - warmup) / (steps - warmup)
        f = 1 (constant), 1 - p (linear), (1 + cos(pi p)) / 2 (cosine)

    Every draw is keyed by (seed, step, position in the batch), and the order of the data by (seed, epoch): a run that
    was stopped or killed at any moment goes on from its newest checkpoint to the very bits of an uninterrupted one, on
    the same machine with the same number of threads.

    Args:
        steps: Updates.
        batch: Samples in each update.
        lr: Largest learning rate.
        warmup: Updates over which the learning rate rises.
        decay: What becomes of it afterwards.
        weight_decay: AdamW's, on matrices and kernels.
        betas: AdamW's.
        clip: Largest norm of the gradient; 0 for no clipping.
        ema: Decay of the averaged weights, per update; its half-life is at most `ema_warmup` of the updates made.
        ema_warmup: See `ema`.
        ema_lengths: Of averages kept besides, from which one of any length can be made after training: 0.05 and 0.1 do;
            see `Power`. Each takes the memory of the weights.
        ema_snapshots: How often these are written, in half precision, evenly over the training.
        micro_batch: Samples in memory at once; the gradients of a batch are summed over its parts. Default: all. "auto": the
            largest of all, half, a quarter, ... that fits the memory that is free when the run begins or goes on.
        save_every: Updates between two checkpoints; there is always one at the end.
        keep: Checkpoints kept.
        log_every: Updates between two rows of the log.
        preview_every, validate_every, health_every: For the hooks that sample, validate and watch for copies, which are made
            elsewhere; 0 for none.
        precision: "bf16" computes in bfloat16 where that is safe (autocast; weights stay float32); "auto" does so on
            an accelerator that has it, and never on a CPU, most of which emulate it.
        compile: Compile the network (`model.network`, or the whole model). Minutes at the start.
        channels_last: Store pictures and kernels channels last; "auto" does so for 4-D x on an accelerator: on a CPU
            it was measured to change nothing.
        tensorboard: Write TensorBoard's files beside `log.jsonl`; "auto" does so where it is installed.
        shard: Over several processes: each keeps a part of the weights, gradients, moments and averages (FSDP2), not all.
        patience: Over several processes: seconds without a sign of life of one of them, after which all end.
        rollbacks: How often a run that has met NaN or infinity goes back to its newest checkpoint (or its beginning, which is
            then kept in memory) and on from there at a lower rate, before it ends; 0 ends it at once, as items that hold them do.
        rollback_rate: What the learning rate is multiplied by each time.
        seed: Of everything random.
    """

    steps: int
    batch: int
    lr: float = 2e-4
    warmup: int = 0
    decay: Literal["constant", "linear", "cosine"] = "constant"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    ema: float = 0.9999
    ema_warmup: float = 0.05
    ema_lengths: Sequence[float] = ()
    ema_snapshots: int = 32
    micro_batch: int | Literal["auto"] | None = None
    save_every: int = 1000
    keep: int = 2
    log_every: int = 50
    preview_every: int = 0
    validate_every: int = 0
    health_every: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    channels_last: bool | Literal["auto"] = "auto"
    tensorboard: bool | Literal["auto"] = False
    shard: bool = False
    patience: float = 60.0
    rollbacks: int = 0
    rollback_rate: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("betas", "ema_lengths"):  # TOML has lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        rules = {
            "at least 1": ("steps", "batch", "save_every", "keep", "log_every", "ema_snapshots"),
            "at least 0": ("warmup", "weight_decay", "clip", "ema_warmup", "rollbacks", *HOOKED),
        }
        for rule, names in rules.items():
            for name in names:
                if not getattr(self, name) >= int(rule[-1]):
                    raise ValueError(f"{name} is {getattr(self, name)}; expected {rule}")
        for name, value in (("ema", self.ema), ("betas[0]", self.betas[0]), ("betas[1]", self.betas[1])):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}; expected at least 0 and below 1")
        if len({exponent(length) for length in self.ema_lengths}) < len(self.ema_lengths):
            raise ValueError(f"ema_lengths are {list(self.ema_lengths)}; expected each once")
        if not 0 < self.rollback_rate < 1:
            raise ValueError(f"rollback_rate is {self.rollback_rate}; expected above 0 and below 1")
        if not self.patience >= 5:
            raise ValueError(f"patience is {self.patience}; expected 5 seconds or more")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}; expected a positive number")
        if self.micro_batch not in (None, "auto") and not (
            isinstance(self.micro_batch, int) and 1 <= self.micro_batch <= self.batch
        ):
            raise ValueError(f"micro_batch is {self.micro_batch}; expected 1 to batch, {self.batch}, or 'auto'")
        for name, allowed in (("decay", ("constant", "linear", "cosine")), ("precision", ("auto", "fp32", "bf16"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}")

    def rate(self, step: int) -> float:
        """The learning rate of update number `step` (1 is the first)."""
        rise = min(1.0, step / self.warmup) if self.warmup else 1.0
        p = max(0, step - 1 - self.warmup) / max(1, self.steps - self.warmup)
        fall = {"constant": 1.0, "linear": 1 - p, "cosine": (1 + math.cos(math.pi * p)) / 2}
        return self.lr * rise * fall[self.decay]

    def fit(
        self,
        model: nn.Module,
        objective: Objective,
        dataset: Dataset,
        folder: Path | str,
        *,
        prepare: Prepare | None = None,
        hooks: Sequence[Hook] = (),
        device: torch.device | str = "cpu",
        init: Path | str | None = None,
        options: Mapping[str, Any] | None = None,
        safe: Collection[str] = (),
        say: Callable[[str], object] = print,
    ) -> nn.Module:
        """Train `model`, or go on where `folder` stands, and return the averaged model (float32, in evaluation mode).

        Where torchrun has started several processes, each calls this with the same arguments: each computes its share of every
        batch, the first alone speaks and writes, and what is learnt is the same but for rounding.

        After each update, in this order: a row of the log, the hooks, a checkpoint, each if due; after the last, all.
        Ctrl-C and SIGTERM let the step finish and save before KeyboardInterrupt or SystemExit(143) is raised.

        Args:
            model: Trained in place, moved to `device`.
            objective: `objective(model, batch, rng)` -> one loss for each sample, (B,). If it is an `nn.Module`, or a
                dataclass that holds some, these are trained, moved and saved with the model, but not averaged.
            dataset: The items; `dataset.batch` is given the keys of its augmentation.
            folder: The run's folder.
            prepare: Done to each batch on the device before the objective sees it: encode, drop conditions.
            hooks: Called with a `State`.
            device: Where to train.
            init: Weights that a new run begins with: a .safetensors file, or the folder of a run that wrote one. A run
                that goes on has its own.
            options: All that the run was asked for, flat, to be compared when it goes on; the trainer's own options
                are added as `train.Trainer.<name>`.
            safe: Keys of `options` that may differ then, each for all below it, besides the trainer's own safe ones.
            say: Told the lines for people; the first is `new run: ...` or `resumes at N of M: ...`.

        Raises:
            ValueError: No items; another run holds the folder; options differ; no checkpoint there is whole; `init`
                does not fit the model.
            NonFinite: A loss, gradient or weight is NaN or infinite and no roll-back is left; names step, rate and culprit.
                No update is made from that step on, nor a checkpoint. On a CPU it is raised in that step, on an accelerator at
                the next row, hook or checkpoint: to look sooner would be to wait for the device in every step.
            OSError: The disk is full.
        """
        folder, device = Path(folder), torch.device(device)
        if len(dataset) < 1:
            raise ValueError("the dataset has no items; expected at least 1")
        own = {f"train.Trainer.{name}": value for name, value in asdict(self).items()}
        options = {**(options or {}), **own, "dataset.items": len(dataset)}
        if not self.ema_lengths:  # as a run began that knew none
            options = {name: value for name, value in options.items() if not name.startswith(KEPT)}
        options = plain({name: value for name, value in options.items() if value != LATER.get(name, ...)})
        # Dropout draws from torch's generators, which are seeded anew in each step and given back as they were.
        with (
            joined(device, shard=self.shard, patience=self.patience) as ranks,
            ranks.only(lambda: claim(folder)),
            stoppable() as stop,
            _forked(device),
        ):
            say = say if ranks.first else _mute
            run = Run(self, model, objective, dataset, folder, prepare, device, ranks)
            start = run.begin(init, options, {*SAFE, *safe}, say)
            if self.compile:
                getattr(model, "network", model).compile()
            with (
                ranks.only(lambda: Log(folder, start, tensorboard=self.tensorboard)) as log,
                ranks.only(lambda: Progress(start, self.steps, say)) as bar,
            ):
                while start < self.steps:
                    try:
                        start = self._steps(run, start, hooks, log, bar, stop)
                    except NonFinite as error:
                        start = run.go_back(error, log, say)
            return run.averaged

    def _steps(self, run: Run, start: int, hooks: Sequence[Hook], log: Log, bar: Progress, stop: Stop) -> int:
        """All updates after `start`; their number, which is `steps`."""
        for step, parts in run.batches(start):
            run.tell(step - 1, log)
            loss = run.gradients(step, parts)
            run.learner.update(step, loss, run.rate(step))
            last = step == self.steps
            row = last or _due(step, self.log_every)
            due = [hook for hook in hooks if last or _due(step, hook.every)]
            # To look at values is to wait for an accelerator: there a bad step is found when they are needed.
            if row or due or not run.lazy:
                run.check()
            if row:
                bar.note = f", loss {run.row(step, log):.4g}"
            if due:
                state = State(step, self.steps, run.raw, run.averaged, run.folder, partial(log.row, step))
                for hook in due:
                    run.ranks.by_first(partial(hook, state))
                    run.model.train()
            stopped = run.ranks.agree(stop.signal or 0)  # what comes while they agree waits for the next step
            run.keep_averages(step)
            if last or stopped or _due(step, self.save_every):
                run.save(step, log)
            if stopped:
                stop.signal = stopped
                run.ranks.part()
                stop.leave()
            bar.update(step)
        return self.steps


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _mute(line: str) -> None:
    pass


def _forked(device: torch.device) -> AbstractContextManager[None]:
    """Give torch's generators of the host and of `device` back as they were."""
    if device.type == "cpu":
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng(devices=[device], device_type=device.type)
