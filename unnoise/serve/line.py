"""Who is next: a bounded line of jobs, and the share that each client has had of the machine.

Shares are seconds of computing, counted in two levels: of a name (a token) and of a client under it. Whoever had least goes
first. One who comes back begins no lower than the least served of those who are there, so that nobody saves up; what one has
had is remembered for a minute, so that asking anew forgets nothing.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from unnoise.serve.limits import Limits

if TYPE_CHECKING:
    from unnoise.serve.jobs import Job

MEMORY = 60.0  # seconds for which the share of a client who has left is remembered


class Full(Exception):
    """There is no room in the line; try again after so many seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy: try again in {retry_after} s")
        self.retry_after = retry_after


class Client(NamedTuple):
    """Who asks: the name of a token, and one of those who use it."""

    name: str
    who: str = ""


@dataclass
class Shares:
    """Seconds that each name and each client has had."""

    names: dict[str, float] = field(default_factory=dict)
    clients: dict[Client, float] = field(default_factory=dict)
    seen: dict[Client, float] = field(default_factory=dict)

    def enter(self, client: Client, present: Iterable[Client]) -> None:
        """A client asks for something while others are there."""
        others = [one for one in present if one != client]
        names = [self.names.get(one.name, 0.0) for one in others if one.name != client.name]
        alike = [self.clients.get(one, 0.0) for one in others if one.name == client.name]
        self.names[client.name] = max(self.names.get(client.name, 0.0), min(names, default=0.0))
        self.clients[client] = max(self.clients.get(client, 0.0), min(alike, default=0.0))
        self._forget(client)

    def charge(self, client: Client, seconds: float) -> None:
        self.names[client.name] = self.names.get(client.name, 0.0) + seconds
        self.clients[client] = self.clients.get(client, 0.0) + seconds

    def had(self, client: Client) -> tuple[float, float]:
        """What to sort by: the least comes first."""
        return self.names.get(client.name, 0.0), self.clients.get(client, 0.0)

    def _forget(self, client: Client) -> None:
        now = time.monotonic()
        self.seen[client] = now
        for gone in [one for one, last in self.seen.items() if now - last > MEMORY]:
            del self.seen[gone]
            self.clients.pop(gone, None)
            if all(one.name != gone.name for one in self.seen):
                self.names.pop(gone.name, None)


class Line:
    """Jobs that wait; at most so many, and of one client at most so many of them. Any thread may use it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.changed = threading.Condition(threading.RLock())
        self.shares = Shares()
        self.coming = Counter[Client]()  # places of jobs that are being made
        self.waiting: list[Job] = []
        self.working: list[Job] = []
        self.finished: deque[float] = deque(maxlen=64)  # when
        self.most = 0  # that ever waited

    @contextmanager
    def place(self, client: Client) -> Iterator[None]:
        """A place in the line, kept while the job that takes it is made; Full is raised, at once, if there is none."""
        with self.changed:
            mine = sum(one.client == client for one in self.waiting) + self.coming[client]
            if len(self.waiting) + self.coming.total() >= self.limits.queue or mine >= self.limits.queue_client:
                raise Full(self._estimate())
            self.coming[client] += 1
        try:
            yield
        finally:
            with self.changed:
                self.coming[client] -= 1
                self.coming += Counter()  # without those who have none

    def put(self, job: Job) -> None:
        """A job takes its place."""
        with self.changed:
            self.shares.enter(job.client, [one.client for one in (*self.waiting, *self.working)])
            self.waiting.append(job)
            self.most = max(self.most, len(self.waiting))
            self.changed.notify()

    def next(self, fits: Callable[[Job], bool]) -> Job | None:
        """Of the jobs that fit, that of whoever had least, the oldest of these; it now works."""
        with self.changed:
            fitting = [one for one in self.waiting if fits(one)]
            if not fitting:
                return None
            job = min(fitting, key=lambda one: (self.shares.had(one.client), one.number))
            self.waiting.remove(job)
            self.working.append(job)
            return job

    def leave_waiting(self, job: Job) -> bool:
        """Takes a job out if it still waits; whether it did."""
        with self.changed:
            waited = job in self.waiting
            if waited:
                self.waiting.remove(job)
            return waited

    def done(self, job: Job) -> None:
        """A job is no longer at work."""
        with self.changed:
            if job in self.working:
                self.working.remove(job)
                self.finished.append(time.monotonic())

    def charge(self, client: Client, seconds: float) -> None:
        with self.changed:
            self.shares.charge(client, seconds)

    def position(self, job: Job) -> int | None:
        """How many go before it, by arrival."""
        with self.changed:
            return next((i for i, one in enumerate(self.waiting) if one is job), None)

    def wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def sleep(self, seconds: float) -> None:
        """Until something changes, at most so long; not at all where something waits."""
        with self.changed:
            if not self.waiting:
                self.changed.wait(seconds)

    def _estimate(self) -> int:
        """Seconds until there may be room, from how quickly jobs left of late."""
        now = time.monotonic()
        lately = [when for when in self.finished if now - when < 60]
        if len(lately) < 2:
            return 2
        rate = len(lately) / max(now - lately[0], 0.1)
        return max(1, min(60, round(0.25 * self.limits.queue / rate)))
