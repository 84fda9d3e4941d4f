"""The thread that samples: it lets walks go on until all of them wait for the network, and then answers one batch of them.

A walk is of one job, or of several that sample alike (see `together`). Files are made of its samples in a thread beside it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from greenlet import GreenletExit, greenlet
from torch import Tensor

from unnoise.serve.choice import Active, Choice
from unnoise.serve.gather import Evaluation, Turn, evaluate
from unnoise.serve.jobs import Cancelled, Job, Refused, clean
from unnoise.serve.limits import Limits
from unnoise.serve.line import Line
from unnoise.serve.together import Together

IDLE = 1.0  # seconds between looks at deadlines where nothing is to be done
log = logging.getLogger("unnoise.serve")


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
        self.choice = Choice(line, limits.active)
        self.active: list[Active] = []
        self.counts = Counts()
        self.files = ThreadPoolExecutor(1, "files")
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
        self.files.shutdown()

    def stop(self) -> None:
        self.stopping.set()
        self.line.wake()

    def _round(self) -> None:
        """One batch, or a short sleep where there is nothing to do."""
        for jobs in self.choice.newcomers(self.active, self.counts.batches):
            self._admit(jobs)
        self._heed()
        if not self.active:
            self.line.sleep(IDLE)
            return
        group = self.choice.next(self.active)
        before = [one.rows for one in group]
        began = time.perf_counter()
        failed = self._answer(group)
        spent = time.perf_counter() - began
        taken = [rows - one.rows for rows, one in zip(before, group, strict=True)]
        for rows, one in zip(taken, group, strict=True):
            self._charge(one, spent * rows / max(sum(taken), 1))
        for one in self.active:
            one.passed += 1
        for one in group:
            one.passed = 0
            if one in failed:
                self._failed(one, failed[one])
            elif isinstance(one.asked, Turn) or not one.rows:
                self._resume(one)

    def _admit(self, jobs: Sequence[Job]) -> None:
        """Begins a walk of jobs, but for those that were stopped while they waited."""
        going = []
        for job in jobs:
            if job.stopped:
                self._end(job, job.stopped)
                continue
            job.status, job.started = "running", time.monotonic()
            job.tell("state", job.json())
            going.append(job)
        if going:
            self._start(going)

    def _heed(self) -> None:
        """Ends what was cancelled or has had its time, at work or in the line."""
        now = time.monotonic()
        for one in list(self.active):
            for job in list(one.jobs):
                if job.stopped is None and now - (job.started or now) > self.limits.job_seconds:
                    job.stop(Refused(504, f"not done within {self.limits.job_seconds:g} s"))
                if job.stopped:
                    self._leave(one, job, job.stopped)
        for job in list(self.line.waiting):
            if job.stopped is None and now - job.queued > self.limits.queue_seconds:
                job.stop(Refused(504, f"not begun within {self.limits.queue_seconds:g} s"))
            if job.stopped and self.line.leave_waiting(job):
                self._end(job, job.stopped)

    def _answer(self, group: Sequence[Active]) -> dict[Active, Refused]:
        """Evaluates what a group asked for; whose evaluations fail also without the others', and what they are told."""
        asked = [one.asked for one in group if isinstance(one.asked, Evaluation)]
        if not asked:
            return {}
        try:
            self.counts.batches += 1
            self.counts.rows += min(asked[0].size, sum(one.left for one in asked))
            self.counts.places += asked[0].size
            evaluate(asked)
        except Exception as error:  # whatever a network does wrong is a job's end, never the server's
            if len(group) == 1:
                return {group[0]: _fault(error, group[0].jobs[0])}
            return {one: why for alone in group for one, why in self._answer([alone]).items()}
        return {}

    def _start(self, jobs: list[Job]) -> None:
        work = jobs[0].work
        together = None if callable(work) else Together(jobs)
        walk = greenlet(together) if together else greenlet(lambda: work(jobs[0]))  # type: ignore[operator]
        self._follow(Active(jobs, walk, together))

    def _resume(self, one: Active) -> None:
        """Goes on with a walk until it asks again, or ends."""
        self.active.remove(one)
        began = time.perf_counter()
        if isinstance(one.asked, Evaluation):
            self._follow(one, one.asked.answer())
            return
        self._follow(one, None)
        self._charge(one, time.perf_counter() - began)  # it computed by itself

    def _follow(self, one: Active, *answer: Any) -> None:
        try:
            found = one.walk.switch(*answer)
        except Exception as error:
            self._failed(one, _fault(error, one.jobs[0]))
            return
        finally:
            torch.set_grad_enabled(False)
        if one.walk.dead:
            self._done(one, found)
            return
        for job in one.jobs:
            job.count()
            if job.evaluations > self.limits.evaluations:
                job.stop(Refused(422, f"more than {self.limits.evaluations} evaluations of the network: ask for fewer steps"))
        one.asked = found
        self.active.append(one)

    def _done(self, one: Active, found: Any) -> None:
        for job in one.jobs:
            if one.together:
                self.files.submit(self._deliver, job, found[job])
            else:
                self._end(job, None, found)

    def _deliver(self, job: Job, x: Tensor) -> None:
        """Makes a result of samples: in a thread of its own, since walks need not wait for it."""
        try:
            assert job.part is not None
            self._end(job, None, job.part.finish(job, x))
        except Exception as error:
            self._end(job, _fault(error, job))

    def _charge(self, one: Active, seconds: float) -> None:
        """What a walk took to those whose it is, by their rows."""
        rows = sum(job.rows for job in one.jobs)
        for job in one.jobs:
            self.line.charge(job.client, seconds * job.rows / rows)

    def _failed(self, one: Active, why: Refused) -> None:
        """The end of a job; of several in a walk each begins again by itself, so that what fails takes nobody with it."""
        jobs = one.jobs
        self._throw(one, why if len(jobs) == 1 else None)
        if len(jobs) > 1:
            for job in jobs:
                self._start([job])

    def _leave(self, one: Active, job: Job, why: Refused) -> None:
        """Ends a job where its walk waits; the others in it go on."""
        if len(one.jobs) == 1 or one.together is None:
            self._throw(one, why)
            return
        one.jobs.remove(job)
        one.together.leave(job)
        self._end(job, why)

    def _throw(self, one: Active, why: Refused | None) -> None:
        """Ends a walk where it waits, and its jobs if that is why."""
        if one in self.active:
            self.active.remove(one)
        try:
            if not one.walk.dead:
                one.walk.throw(Cancelled)
        except (Cancelled, GreenletExit):
            pass
        except Exception:
            log.exception("a walk that was stopped", extra={"job": one.jobs[0].id})
        finally:
            torch.set_grad_enabled(False)
        if why:
            for job in one.jobs:
                self._end(job, why)

    def _end(self, job: Job, why: Refused | None, result: Any = None) -> None:
        self.line.done(job)
        if why is None:
            job.end("done", result)
        else:
            job.end("cancelled" if why.status == 499 else "failed", refused=why)


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
