"""The thread that samples: it lets walks go on until all of them wait for the network, and then answers one batch of them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from greenlet import GreenletExit, greenlet

from unnoise.serve.gather import Evaluation, Turn, evaluate
from unnoise.serve.jobs import Cancelled, Job, Refused, clean
from unnoise.serve.limits import Limits
from unnoise.serve.line import Line

IDLE = 1.0  # seconds between looks at deadlines where nothing is to be done
FULL = 2  # batches that active walks may fill, so that of two kinds one is always full; walks that compute by themselves
PATIENCE = 8  # batches that may go by before one that is not full
log = logging.getLogger("unnoise.serve")


@dataclass(eq=False)
class Active:
    """A job at work: its coroutine, and what that waits for."""

    job: Job
    walk: Any
    asked: Evaluation | Turn
    passed: int = 0  # batches that it was left out of


@dataclass
class Counts:
    """What the engine did, for whoever measures: batches, rows of them that were asked for, all rows."""

    batches: int = 0
    rows: int = 0
    places: int = 0


class Engine(threading.Thread):
    """Works off a line of jobs.

    Args:
        line: Where they come from.
        limits: Of their time and evaluations.
        threads: Of torch, as the pictures' metadata say.
    """

    def __init__(self, line: Line, limits: Limits, threads: int) -> None:
        super().__init__(name="engine", daemon=True)
        self.line, self.limits, self.threads = line, limits, threads
        self.active: list[Active] = []
        self.counts = Counts()
        self.stopping = threading.Event()

    def run(self) -> None:
        torch.set_num_threads(self.threads)
        with torch.no_grad():
            while not self.stopping.is_set():
                try:
                    self._round()
                except Exception:  # a fault of this loop itself: whoever is at work is told, and the others are served
                    log.exception("the engine failed")
                    for one in list(self.active):
                        self._throw(one, Refused(500, "failed; the server's log says why"))
            for one in list(self.active):
                self._throw(one, Refused(503, "the server is stopping"))

    def stop(self) -> None:
        self.stopping.set()
        self.line.wake()

    def _round(self) -> None:
        """One batch, or a short sleep where there is nothing to do."""
        self._admit()
        self._heed()
        if not self.active:
            self.line.sleep(IDLE)
            return
        group = self._choose()
        before = [_rows(one) for one in group]
        began = time.perf_counter()
        failed = self._answer(group)
        spent = time.perf_counter() - began
        taken = [rows - _rows(one) for rows, one in zip(before, group, strict=True)]
        for rows, one in zip(taken, group, strict=True):
            self.line.charge(one.job.client, spent * rows / max(sum(taken), 1))
        for one in self.active:
            one.passed += 1
        for one in group:
            one.passed = 0
            if failed:
                self._throw(one, failed)
            elif isinstance(one.asked, Turn) or not one.asked.left:
                self._resume(one)

    def _admit(self) -> None:
        """Lets jobs in while their rows would fill a batch."""
        rows = Counter[tuple[str, int]]()
        for one in self.active:
            rows[one.job.kind] += one.job.weight
        while len(self.active) < self.limits.active:
            job = self.line.next(lambda one: rows[one.kind] < FULL * max(one.batch, 1))
            if job is None:
                return
            if job.stopped:  # while it waited
                self._end(job, job.stopped)
                continue
            rows[job.kind] += job.weight
            job.status, job.started = "running", time.monotonic()
            job.tell("state", job.json())
            self._start(job)

    def _heed(self) -> None:
        """Ends what was cancelled or has had its time, at work or in the line."""
        now = time.monotonic()
        for one in list(self.active):
            if one.job.stopped is None and now - (one.job.started or now) > self.limits.job_seconds:
                one.job.stop(Refused(504, f"not done within {self.limits.job_seconds:g} s"))
            if one.job.stopped:
                self._throw(one, one.job.stopped)
        for job in list(self.line.waiting):
            if job.stopped is None and now - job.queued > self.limits.queue_seconds:
                job.stop(Refused(504, f"not begun within {self.limits.queue_seconds:g} s"))
            if job.stopped and self.line.leave_waiting(job):
                self._end(job, job.stopped)

    def _choose(self) -> list[Active]:
        """Whose evaluations come next: those of one kind, in one batch, or one walk that takes a turn of its own.

        Batches that are full can go, and the fullest if none is; so can turns, and what was passed over often. Of these it is
        that of the client who had least.
        """
        ordered = sorted(self.active, key=lambda one: (self.line.shares.had(one.job.client), one.job.number))
        groups: dict[Any, list[Active]] = {}
        for one in ordered:
            kind = one.asked.kind if isinstance(one.asked, Evaluation) else id(one)
            groups.setdefault(kind, []).append(one)
        enough = min(1.0, max((_fill(group) for group in groups.values() if isinstance(group[0].asked, Evaluation)), default=1.0))
        ready = (g for g in groups.values() if _fill(g) >= enough or any(one.passed >= PATIENCE for one in g))
        group = next(ready)
        return _first(group)

    def _answer(self, group: Sequence[Active]) -> Refused | None:
        """Evaluates what a group asked for; what went wrong, for the jobs of this batch alone."""
        asked = [one.asked for one in group if isinstance(one.asked, Evaluation)]
        if not asked:
            return None
        try:
            self.counts.batches += 1
            self.counts.rows += min(asked[0].size, sum(one.left for one in asked))
            self.counts.places += asked[0].size
            evaluate(asked)
        except Exception as error:  # whatever a network does wrong is those jobs' end, never the server's
            return _fault(error, group[0].job)
        return None

    def _start(self, job: Job) -> None:
        self._follow(job, greenlet(lambda: job.work(job)), None, None)

    def _resume(self, one: Active) -> None:
        """Goes on with a walk until it asks again, or ends."""
        self.active.remove(one)
        answer = one.asked.answer() if isinstance(one.asked, Evaluation) else None
        began = time.perf_counter()
        self._follow(one.job, one.walk, answer, one)
        if isinstance(one.asked, Turn):  # it computed by itself
            self.line.charge(one.job.client, time.perf_counter() - began)

    def _follow(self, job: Job, walk: Any, answer: Any, one: Active | None) -> None:
        try:
            found = walk.switch() if one is None else walk.switch(answer)
        except Exception as error:
            self._end(job, _fault(error, job))
            return
        finally:
            torch.set_grad_enabled(False)
        if walk.dead:
            self._end(job, None, found)
            return
        job.count()
        if job.evaluations > self.limits.evaluations:
            job.stop(Refused(422, f"more than {self.limits.evaluations} evaluations of the network: ask for fewer steps"))
        self.active.append(Active(job, walk, found))

    def _throw(self, one: Active, why: Refused) -> None:
        """Ends a walk where it waits."""
        self.active.remove(one)
        try:
            one.walk.throw(Cancelled)
        except (Cancelled, GreenletExit):
            pass
        except Exception:
            log.exception("a walk that was stopped", extra={"job": one.job.id})
        finally:
            torch.set_grad_enabled(False)
        self._end(one.job, why)

    def _end(self, job: Job, why: Refused | None, result: Any = None) -> None:
        self.line.done(job)
        if why is None:
            job.end("done", result)
        else:
            job.end("cancelled" if why.status == 499 else "failed", refused=why)


def _rows(one: Active) -> int:
    return one.asked.left if isinstance(one.asked, Evaluation) else 1


def _fill(group: Sequence[Active]) -> float:
    """How full a batch of these would be; a turn always is."""
    asked = group[0].asked
    return sum(_rows(one) for one in group) / asked.size if isinstance(asked, Evaluation) else 1.0


def _first(group: Sequence[Active]) -> list[Active]:
    """The first of a group whose rows fit into a batch, the last of them perhaps in part."""
    asked, rows, chosen = group[0].asked, 0, []
    if isinstance(asked, Turn):
        return [group[0]]
    for one in group:
        if rows >= asked.size:
            break
        chosen.append(one)
        rows += _rows(one)
    return chosen


def _fault(error: BaseException, job: Job) -> Refused:
    """What a client is told of an error: a border's own words, or nothing but that there was one."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ValueError):
        return Refused(422, clean(str(error)))
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return Refused(503, "not enough memory for this request")
    log.exception("job failed", exc_info=error, extra={"job": job.id})
    return Refused(500, "failed; the server's log says why")
