"""Many walks, one network: evaluations of unlike requests answered in one batch of fixed size.

A walk is ordinary code that calls a network. Here it runs as a coroutine (a greenlet), and the network that it calls only notes
what is asked and lets the next walk go on; when all of them wait, one batch answers several. Walks join and leave at every
evaluation, and none knows of the others. The batch always has the size that the model's own sampling has, filled up where
requests are few, because a network's arithmetic depends on the size of its batch: so a sample has the same bytes in any company.

Everything runs in one thread. What is told of gradients (on, off) belongs to a thread and not to a greenlet, so that each pause
keeps its own.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from greenlet import getcurrent
from torch import Tensor, nn

from unnoise.codec import Codec
from unnoise.condition import Conditions, complete
from unnoise.denoiser import Answer, Denoiser, Time
from unnoise.denoiser.base import times
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, expand
from unnoise.times import Given, Times

REMEMBERED = 4096  # coefficients of times, which all walks of a model share


@dataclass(eq=False)
class Evaluation:
    """What one walk asks of a network: some rows, to be answered in batches of `size` of one `kind`."""

    kind: tuple[int, int]
    network: nn.Module
    size: int
    x: Tensor
    level: Tensor
    cond: dict[str, Tensor]
    done: int = 0  # rows
    outputs: list[Tensor] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Rows that have no answer yet."""
        return len(self.x) - self.done

    def answer(self) -> Tensor:
        return self.outputs[0] if len(self.outputs) == 1 else torch.cat(self.outputs)


class Turn:
    """What a walk asks that computes by itself, in a batch of its own: to be the one that does."""


def pause(asked: Evaluation | Turn) -> Tensor | None:
    """Lets the others go on until what is asked is there."""
    gradients = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    try:
        return getcurrent().parent.switch(asked)
    finally:
        torch.set_grad_enabled(gradients)


class Standing(nn.Module):
    """A module around one of the model's own, which is in the mode that it was read in, and stays so."""

    def train(self, mode: bool = True) -> Self:
        return self


class Shared(Standing):
    """A network that is evaluated together with others' requests.

    Args:
        network: F.
        rows: Of the walk: a call of twice as many (guidance) is answered in batches of twice the size, as it would be alone.
        batch: The execution batch.
    """

    def __init__(self, network: Any, rows: int, batch: int) -> None:
        super().__init__()
        self.network, self.rows, self.batch = network, rows, batch
        self.wanted: Tensor | None = None  # rows that are still asked about; None: all
        self.conds: Conditions = getattr(network, "conds", {})
        self.variance = getattr(network, "variance", False)

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        times_over, rest = divmod(len(x), self.rows)
        if rest:
            raise ValueError(f"{len(x)} rows of a walk of {self.rows}: expected a multiple")
        if self.wanted is None:
            return self._ask(times_over, x, level, cond)
        index = torch.cat([self.wanted + i * self.rows for i in range(times_over)]).to(x.device)
        found = self._ask(times_over, x[index], level[index], {name: value[index] for name, value in cond.items()})
        return found.new_zeros(len(x), *found.shape[1:]).index_copy_(0, index, found)

    def _ask(self, times_over: int, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        asked = Evaluation((id(self.network), times_over), self.network, times_over * self.batch, x, level, dict(cond))
        answered = pause(asked)
        assert answered is not None
        return answered


class Alone(Standing):
    """A network that is evaluated as it is called, when it is this walk's turn: for walks that need its gradients."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.conds: Conditions = getattr(network, "conds", {})
        self.variance = getattr(network, "variance", False)

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        pause(Turn())
        return self.network(x, level, cond)


def with_network(denoiser: Denoiser, network: nn.Module) -> Denoiser:
    """The same denoiser, of whatever kind, with another network; the given one stays as it is."""
    changed = copy.copy(denoiser)
    changed.__dict__["_modules"] = {**denoiser._modules, "network": network}
    return changed


class Gathered(Denoiser):
    """A plain denoiser whose network is shared; what depends on the time alone is worked out once for all walks.

    Args:
        denoiser: The model's own.
        shared: Its network.
        known: Coefficients by time, kept by whoever makes these.
    """

    def __init__(self, denoiser: Denoiser, shared: Shared, known: dict[float, tuple[Tensor, ...]]) -> None:
        super().__init__(shared, denoiser.schedule, denoiser.predict, denoiser.level, denoiser._project)
        self.batch, self.known = shared.batch, known

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        one = t if isinstance(t, float) else _alike(t)
        if one is None:
            return super().answer(x_t, t, cond)
        c_skip, c_out, c_in, level = self._at(one, x_t)
        output = self.network(c_in * x_t, level.expand(len(x_t)), complete(self.conds, cond, len(x_t), x_t.device))
        variance = None
        if self.network.variance:
            output, variance = output.chunk(2, 1)
        return Answer(self.project(c_skip * x_t + c_out * output, cond), variance=variance)

    def _at(self, t: float, x_t: Tensor) -> tuple[Tensor, ...]:
        """The coefficients at t, each for one row, computed for a whole batch as sampling alone does."""
        if t not in self.known:
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            all_rows = times(t, self.batch)
            level = self.level(self.schedule, all_rows)
            found = [*self.predict(*self.schedule(all_rows)), level]
            self.known[t] = tuple(c[:1].to(x_t.device, x_t.dtype) for c in found)
        c_skip, c_out, c_in, level = self.known[t]
        return expand(c_skip, x_t), expand(c_out, x_t), expand(c_in, x_t), level


class Filled(Codec):
    """A codec that decodes in whole batches, as sampling alone does, when it is this walk's turn."""

    def __init__(self, codec: Codec, batch: int) -> None:
        super().__init__()
        self.codec, self.batch = codec, batch

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        return self.codec.shape(data)

    def encode(self, x: Tensor) -> Tensor:
        return self.codec.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        pause(Turn())
        return torch.cat([self.codec.decode(filled(part, self.batch))[: len(part)] for part in z.split(self.batch)])


class Remembered(Times):
    """A rule whose times are worked out once: they take as long as several steps of a small walk."""

    def __init__(self, rule: Times) -> None:
        self.rule, self.known = rule, dict[int, Given]()

    def __call__(self, schedule: Schedule, n: int) -> Given:
        if n not in self.known:
            self.known[n] = self.rule(schedule, n)
        return self.known[n]

    @property
    def unfitted(self) -> Times:
        other = self.rule.unfitted
        return self if other is self.rule else other


def evaluate(asked: Sequence[Evaluation]) -> None:
    """One batch for the first rows of evaluations of one kind, as many as fit; each keeps its part of the answer."""
    first, room = asked[0], asked[0].size
    taken: list[tuple[Evaluation, slice]] = []
    for one in asked:
        n = min(room, one.left)
        if n:
            taken.append((one, slice(one.done, one.done + n)))
        room -= n

    def joined(parts: list[Tensor]) -> Tensor:
        return filled(parts[0] if len(parts) == 1 else torch.cat(parts), first.size)

    x = joined([one.x[rows] for one, rows in taken])
    level = joined([one.level[rows] for one, rows in taken])
    cond = {name: joined([one.cond[name][rows] for one, rows in taken]) for name in first.cond}
    output, start = first.network(x, level, cond), 0
    for one, rows in taken:
        n = rows.stop - rows.start
        one.outputs.append(output[start : start + n])
        one.done, start = rows.stop, start + n


def filled(x: Tensor, size: int) -> Tensor:
    """Rows filled up to that many with the last one."""
    return x if len(x) == size else torch.cat([x, x[-1:].expand(size - len(x), *x.shape[1:])])


def _alike(t: Tensor) -> float | None:
    """The one time of all rows, or None where they differ."""
    first = float(t.flatten()[0])
    return first if bool((t == first).all()) else None
