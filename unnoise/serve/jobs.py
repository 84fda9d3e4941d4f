"""One piece of work that was asked for: where it stands, who watches, and what came of it."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unnoise.serve.limits import Limits
from unnoise.serve.line import Client

if TYPE_CHECKING:
    from unnoise.serve.together import Part

PATHS = re.compile(r"(?<![\w/])(?:/[^\s/'\":;,]+){2,}/?")
COUNT = itertools.count()
ENDS = ("done", "failed", "cancelled")


class Cancelled(BaseException):
    """Raised inside a walk that is to stop; no handler of errors catches it."""


class Refused(Exception):
    """What a client is told instead of a result.

    Args:
        status: Of HTTP.
        message: One line, without any path.
        field: Of the request, where one is to blame.
    """

    def __init__(self, status: int, message: str, field: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.retry_after = status, message, field, retry_after


def new_id() -> str:
    """One that nobody guesses: 26 of 32 signs, 130 bits."""
    return "".join("abcdefghijkmnpqrstuvwxyz23456789"[byte % 32] for byte in secrets.token_bytes(26))


Task = Callable[["Job"], dict[str, Any]]  # runs as a coroutine of the engine, and gives the result as JSON


@dataclass(eq=False)
class Job:
    """Work in the line, at work, or done.

    Args:
        task, model: By name and by id.
        client: Who asked.
        work: What is to be done, by itself; or a part in a walk that others may share.
        rows: How many samples go along in it: what it weighs where batches are filled.
        batch: The execution batch that it shares with others; 0 where it computes by itself.
        steps: In all, for the progress; what is not known is 0.
        previews, inside: What is shown on the way.
        detached: It goes on when nobody watches any longer.
        counted: Its steps are evaluations of the network, which the engine counts.
    """

    task: str
    model: str
    client: Client
    work: Task | Part
    rows: int
    batch: int = 0
    steps: int = 0
    previews: bool = False
    inside: bool = False
    detached: bool = False
    counted: bool = False
    id: str = field(default_factory=new_id)
    number: int = field(default_factory=lambda: next(COUNT))
    status: str = "queued"
    step: int = 0
    evaluations: int = 0
    created: float = field(default_factory=time.time)
    queued: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    result: dict[str, Any] | None = None
    refused: Refused | None = None
    stopped: Refused | None = None  # why it is to stop: set by any thread, heeded by the engine
    watchers: list[Watcher] = field(default_factory=list)
    waiters: list[Watcher] = field(default_factory=list)  # who hear of the end alone
    lock: threading.Lock = field(default_factory=threading.Lock)
    latest: dict[str, dict[str, Any]] = field(default_factory=dict)
    on_end: Callable[[Job], object] | None = None

    @property
    def part(self) -> Part | None:
        """What it has in a walk that others may share, where it is a request for samples."""
        return None if callable(self.work) else self.work

    @property
    def kind(self) -> tuple[str, int]:
        """What it shares batches with."""
        return self.model, self.batch

    @property
    def weight(self) -> int:
        """How much of a batch it fills; 1 where it computes by itself."""
        return self.rows if self.batch else 1

    @property
    def followed(self) -> bool:
        """Whether anybody is there for it."""
        return bool(self.watchers or self.waiters)

    def stop(self, why: Refused | None = None) -> None:
        """Asks for the end of it."""
        self.stopped = self.stopped or why or Refused(499, "cancelled")

    def tell(self, event: str, data: dict[str, Any]) -> None:
        """Something to all who watch, from any thread; the latest of each kind is kept for those who come later."""
        with self.lock:
            self.latest[event] = data
            for watcher in self.watchers:
                watcher.put(event, data)

    def count(self) -> None:
        """One more evaluation of the network."""
        self.evaluations += 1
        if self.counted:
            self.step = min(self.evaluations, self.steps)
            if self.watchers:
                self.tell("progress", {"step": self.step, "steps": self.steps, "nfe": self.evaluations})

    def end(self, status: str, result: dict[str, Any] | None = None, refused: Refused | None = None) -> None:
        """Done, failed or cancelled: told once."""
        if self.status in ENDS:
            return
        self.status, self.result, self.refused, self.ended = status, result, refused, time.monotonic()
        self.work = over  # with the model that it held: who is remembered holds no memory but its result
        self.latest.pop("preview", None)
        if self.on_end:
            self.on_end(self)
        ends = {"done": ("result", result or {}), "failed": ("failed", {"error": error(refused)}), "cancelled": ("cancelled", {})}
        self.tell("state", self.json())
        self.tell(*ends[status])
        with self.lock:
            for waiter in self.waiters:
                waiter.put(*ends[status])

    def json(self, position: int | None = None) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": self.id,
            "task": self.task,
            "model": self.model,
            "status": self.status,
            "position": position,
        }
        told |= {"step": self.step, "steps": self.steps, "created": round(self.created, 3)}
        return told | {"result": self.result, "error": error(self.refused) if self.status == "failed" else None}


class Watcher:
    """One who hears of a job in an event loop: the newest preview, and every other event.

    Args:
        job: Whose.
        end: Of its end alone. To wake an event loop costs the engine more than a step of a small walk does; who waits for a
            result need not be woken at every step.
    """

    def __init__(self, job: Job, end: bool = False) -> None:
        self.job, self.loop, self.arrived = job, asyncio.get_running_loop(), asyncio.Event()
        self.beside = job.waiters if end else job.watchers
        self.events: list[tuple[str, dict[str, Any]]] = []
        with job.lock:
            self.events += [("state", job.json())]
            self.events += [(name, job.latest[name]) for name in ("progress", "preview", *_endings(job)) if name in job.latest]
            self.beside.append(self)
        self.arrived.set()

    def put(self, event: str, data: dict[str, Any]) -> None:
        """From any thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._put, event, data)

    async def next(self, seconds: float) -> list[tuple[str, dict[str, Any]]]:
        """What has happened since, after at most so long."""
        try:
            await asyncio.wait_for(self.arrived.wait(), seconds)
        except TimeoutError:
            return []
        self.arrived.clear()
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        with self.job.lock:
            self.beside.remove(self)

    def _put(self, event: str, data: dict[str, Any]) -> None:
        if event in ("preview", "progress"):  # of those only the newest matters to one who reads slowly
            self.events = [one for one in self.events if one[0] != event]
        self.events.append((event, data))
        self.arrived.set()


class Jobs:
    """All that were asked for of late, by id."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.known: dict[str, Job] = {}

    def add(self, job: Job) -> None:
        self.known[job.id] = job
        self.tidy()

    def get(self, id_: str, client: Client) -> Job:
        """A job of the same name; Refused (404) otherwise, whether or not there is one."""
        job = self.known.get(id_)
        if job is None or job.client.name != client.name:
            raise Refused(404, "no such job")
        return job

    def of(self, client: Client) -> list[Job]:
        return [job for job in reversed(self.known.values()) if job.client == client]

    def tidy(self) -> None:
        """Forgets what ended long ago, and the oldest ends beyond so many."""
        now = time.monotonic()
        ended = [job for job in self.known.values() if job.ended is not None]
        many = len(self.known) - self.limits.jobs
        for i, job in enumerate(ended):
            if i < many or now - (job.ended or now) > self.limits.keep_seconds:
                del self.known[job.id]


def over(job: Job) -> dict[str, Any]:
    """The work of a job that has ended."""
    return job.result or {}


def error(refused: Refused | None, request: str | None = None) -> dict[str, Any] | None:
    """As JSON, in the form that OpenAI's clients read."""
    if refused is None:
        return None
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(refused.status, "server_error" if refused.status >= 500 else "invalid_request_error")
    told: dict[str, Any] = {"type": kind, "code": refused.status, "message": refused.message, "field": refused.field}
    if refused.retry_after is not None:
        told["retry_after"] = refused.retry_after
    return told | ({"request": request} if request else {})


def clean(message: str) -> str:
    """A message of the library for a client: one line, no path of this machine."""
    return PATHS.sub("(file)", " ".join(message.split()))[:500]


def _endings(job: Job) -> tuple[str, ...]:
    return ("result", "failed", "cancelled") if job.status in ENDS else ()
