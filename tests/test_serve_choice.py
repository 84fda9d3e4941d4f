"""Who comes next, on a clock of its own: many clients who ask anew as soon as they are answered, and no network at all."""

from __future__ import annotations

import contextlib
import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from unnoise.serve.choice import Active, Choice
from unnoise.serve.gather import Evaluation
from unnoise.serve.jobs import Job
from unnoise.serve.limits import LIMITS
from unnoise.serve.line import Client, Full, Line

STEPS, BATCH = 20, 16
GUIDED = "guided"  # of the kinds of request the one that asks for twice its rows
KINDS = ("plain", "ancestral", "ddim", GUIDED)


class Part:
    """What a request is told by: whom it may walk with."""

    def __init__(self, key: str) -> None:
        self.key = key


@dataclass
class Storm:
    """Clients without patience, before a choice that is made as the engine makes it; a batch of any size takes a time of 1."""

    clients: int = 48
    now: int = 0
    line: Line = field(default_factory=lambda: Line(LIMITS))
    active: list[Active] = field(default_factory=list)
    asking: list[tuple[int, int]] = field(default_factory=list)  # when, who
    left: dict[Any, int] = field(default_factory=dict)  # steps of walks
    had: Counter[int] = field(default_factory=Counter)  # rows of clients, in what they cost
    rows: Counter[int] = field(default_factory=Counter)
    places: Counter[int] = field(default_factory=Counter)

    def run(self, batches: int) -> None:
        self.choice = Choice(self.line, LIMITS.active)
        self.asking = [(0, i) for i in range(self.clients)]
        self.random = [random.Random(i) for i in range(self.clients)]
        for self.now in range(batches):
            self._come()
            for jobs in self.choice.newcomers(self.active, self.now):
                one = Active(jobs, None, None)
                self.left[one] = STEPS
                self._ask(one)
                self.active.append(one)
            self._answer(self.choice.next(self.active))

    def _come(self) -> None:
        while self.asking and self.asking[0][0] <= self.now:
            _, who = heapq.heappop(self.asking)
            keyed = self.random[who]
            part: Any = Part(keyed.choice(KINDS))
            job = Job("sample", "m", Client("token", str(who)), part, keyed.randint(1, 8), BATCH, STEPS)
            try:
                with self.line.place(job.client):
                    self.line.put(job)
            except Full:
                heapq.heappush(self.asking, (self.now + keyed.randint(5, 15), who))

    def _ask(self, one: Active) -> None:
        part: Any = one.jobs[0].part
        times_over = 2 if part.key == GUIDED else 1
        x = torch.empty(times_over * sum(job.rows for job in one.jobs))
        one.asked = Evaluation((0, times_over), torch.nn.Identity(), times_over * BATCH, x, x, {})

    def _answer(self, group: list[Active]) -> None:
        room = size = group[0].asked.size  # type: ignore[union-attr]
        for one in group:
            assert isinstance(one.asked, Evaluation) and one.asked.size == size
            n = min(room, one.asked.left)
            one.asked.done, room = one.asked.done + n, room - n
            for job in one.jobs:
                self.line.charge(job.client, n / size * job.rows / sum(other.rows for other in one.jobs))
        if self.now >= 200:  # the line is full
            self.rows[size] += size - room
            self.places[size] += size
        for one in self.active:
            one.passed = 0 if one in group else one.passed + 1
        for one in [one for one in group if not one.rows]:
            self.left[one] -= 1
            self._ask(one) if self.left[one] else self._end(one)

    def _end(self, one: Active) -> None:
        self.active.remove(one)
        for job in one.jobs:
            self.line.done(job)
            self.had[int(job.client.who)] += job.rows * (2 if job.part.key == GUIDED else 1)  # type: ignore[union-attr]
            heapq.heappush(self.asking, (self.now + 1, int(job.client.who)))


@pytest.fixture(scope="module")
def storm() -> Storm:
    one = Storm()
    one.run(4000)
    return one


def test_batches_are_full_whatever_is_asked_for(storm: Storm) -> None:
    """With guidance and without, though a fourth asks for the one and three fourths for the other."""
    fill = {size: storm.rows[size] / storm.places[size] for size in storm.places}
    assert set(fill) == {BATCH, 2 * BATCH}
    assert storm.rows.total() / storm.places.total() > 0.97 and min(fill.values()) > 0.94, fill


def test_no_client_has_twice_its_share(storm: Storm) -> None:
    """And none has nothing, though some ask for eight at a time and some for one."""
    assert len(storm.had) == storm.clients
    assert max(storm.had.values()) <= 2 * storm.had.total() / storm.clients


def test_the_line_is_never_longer_than_its_bound(storm: Storm) -> None:
    assert storm.line.most == LIMITS.queue == len(storm.line.waiting)


def test_a_place_is_kept_while_its_job_is_made() -> None:
    """Of those who come at once only as many are let in as find places, before anything is made for them."""
    line, one, other = Line(LIMITS), Client("a"), Client("b")
    with contextlib.ExitStack() as places:
        for client, n in ((one, LIMITS.queue_client), (other, LIMITS.queue - LIMITS.queue_client)):
            for _ in range(n):
                places.enter_context(line.place(client))
            with pytest.raises(Full), line.place(client):  # neither beyond one's part, nor beyond all places
                raise AssertionError("there was a place")
    with pytest.raises(ZeroDivisionError), line.place(one):
        raise ZeroDivisionError
    with line.place(one):  # those that nobody took are free again
        assert line.coming == {one: 1}
