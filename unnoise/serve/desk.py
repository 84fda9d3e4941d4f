"""From a validated wish to an answer: put in line, waited for or told of, and given up when nobody waits any longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from unnoise.serve.engine import Engine
from unnoise.serve.jobs import ENDS, Job, Jobs, Refused, Watcher, clean, error
from unnoise.serve.limits import Limits
from unnoise.serve.line import Client, Full, Line
from unnoise.serve.log import Logbook
from unnoise.serve.models import Models
from unnoise.serve.store import Store
from unnoise.serve.wishes import Wish

PULSE = 10.0  # seconds between signs of life on a stream that is silent


@dataclass
class Desk:
    """The parts of a running server."""

    limits: Limits
    models: Models
    store: Store
    line: Line
    jobs: Jobs
    engine: Engine
    log: Logbook
    draining: bool = False

    async def ask(self, request: Request, wish: Wish, make: Callable[[Desk, Any, Client], Job]) -> Response:
        """The result of a wish, or its job where the client does not wait."""
        client = request.state.client
        if self.draining:
            raise Refused(503, "the server is stopping", retry_after=5)
        try:
            with self.line.place(client):  # before any work is done for it
                job = await self.made(make, wish, client)
                job.on_end = self.log.ended
                self.line.put(job)
        except Full as full:
            raise Refused(429, str(full), retry_after=full.retry_after) from None
        self.jobs.add(job)
        if not wish.wait:
            return JSONResponse(self.told(job), 202)
        return JSONResponse(await self.awaited(request, job))

    async def made(self, make: Callable[[Desk, Any, Client], Job], wish: Any, client: Client) -> Job:
        """The job of a wish, made beside the event loop: a model may have to be read for it."""
        try:
            return await asyncio.to_thread(make, self, wish, client)
        except ValueError as wrong:
            raise Refused(422, clean(str(wrong))) from wrong

    async def awaited(self, request: Request, job: Job) -> dict[str, Any]:
        """The result, when it is there; a client who hangs up ends the job."""
        watcher = Watcher(job, end=True)
        gone = asyncio.ensure_future(_hung_up(request))
        try:
            while job.status not in ENDS:
                news = asyncio.ensure_future(watcher.next(PULSE))
                await asyncio.wait((news, gone), return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if gone.done():
                    self.stop(job)
                    raise Refused(499, "the client is gone")
        finally:
            gone.cancel()
            watcher.close()
        if job.status != "done":
            raise self.reason(job)
        return job.result or {}

    async def events(self, job: Job) -> AsyncIterator[str]:
        """A job's events until its end; when the last watcher leaves, the job does not go on for long."""
        watcher = Watcher(job)
        try:
            while True:
                events = await watcher.next(PULSE)
                for name, data in events:
                    if name == "state":
                        data = self.told(job)
                    yield _event(name, data)
                    if name in ("result", "failed", "cancelled"):
                        return
                if not events:
                    yield ": \n\n"
        finally:
            watcher.close()
            if not job.followed and not job.detached and job.status not in ENDS:
                asyncio.get_running_loop().call_later(self.limits.abandoned_seconds, self._abandoned, job)

    def stream(self, job: Job) -> Response:
        """The same as an answer."""
        return StreamingResponse(self.events(job), media_type="text/event-stream", headers={"cache-control": "no-store"})

    def stop(self, job: Job) -> None:
        """Ends a job: at once where it waits, within one evaluation where it works."""
        job.stop()
        if self.line.leave_waiting(job):
            job.end("cancelled")
        self.line.wake()

    def told(self, job: Job) -> dict[str, Any]:
        """A job as clients see it."""
        return job.json(self.line.position(job))

    def reason(self, job: Job) -> Refused:
        """Why there is no result."""
        why = job.refused or Refused(409, "cancelled")
        return why if why.status != 499 else Refused(409, "this was cancelled")

    def drain(self) -> None:
        """No more work is taken; what waits is refused, what is at work may finish."""
        self.draining = True
        for job in list(self.line.waiting):
            if self.line.leave_waiting(job):
                job.end("failed", refused=Refused(503, "the server is stopping", retry_after=5))

    def give_up(self) -> None:
        """What is still at work ends now."""
        for job in list(self.line.working):
            job.stop(Refused(503, "the server is stopping", retry_after=5))
        self.line.wake()

    def _abandoned(self, job: Job) -> None:
        if not job.followed and job.status not in ENDS:
            self.stop(job)


def failure(refused: Refused, request: str) -> JSONResponse:
    """An error as an answer."""
    headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    return JSONResponse({"error": error(refused, request)}, refused.status, headers)


async def _hung_up(request: Request) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


def _event(name: str, data: Any) -> str:
    import json

    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
