"""The process: what is served where, how it begins, and how it ends without losing what it took."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import torch
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from unnoise.serve.app import application, body_of
from unnoise.serve.desk import Desk
from unnoise.serve.engine import Engine
from unnoise.serve.entry import Entry, tokens
from unnoise.serve.files import Files
from unnoise.serve.guard import Guard
from unnoise.serve.jobs import Jobs
from unnoise.serve.limits import LIMITS, Limits
from unnoise.serve.line import Line
from unnoise.serve.log import Logbook, set_up
from unnoise.serve.models import Models
from unnoise.serve.store import Store

LOCAL = ("127.0.0.1", "localhost", "::1")
HANDS = 4  # threads beside the event loop
TICK = 0.5  # seconds between looks at jobs that nobody waits for
SWITCH = 0.0005  # seconds that a thread may keep the interpreter from the engine, which gives it up at each operation; else 0.005


@dataclass(frozen=True)
class Order:
    """What is to be served, and where.

    Args:
        runs: Their folders.
        host, port: Where to listen.
        token_file: Of the tokens; needed where others than this machine can connect.
        allow_hosts: What a Host header may say besides the address.
        device, threads, batch, memory: As `models.Models` takes them; memory in bytes, and threads `spare` if not given.
    """

    runs: Sequence[Path]
    host: str = "127.0.0.1"
    port: int = 8765
    token_file: Path | None = None
    allow_hosts: Sequence[str] = ()
    device: str = "auto"
    threads: int | None = None
    batch: int | None = None
    memory: int | None = None

    def check(self) -> None:
        """Raises ValueError where it would be open to others without a token of the operator's."""
        if not self.runs:
            raise ValueError("which models? expected one run folder at least")
        if self.host not in LOCAL and self.token_file is None:
            raise ValueError(f"--host {self.host}: others can connect there; give the tokens of those who may: --token-file FILE")


class Impatient(H11Protocol):
    """HTTP whose clients have so long for a request's header, and of whom there are so many at a time."""

    limits: Limits = LIMITS
    patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self.patience is None:
            self.patience = self.loop.call_later(self.limits.headers_seconds, self.transport.abort)

    def _rest(self) -> None:
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None


class Server(uvicorn.Server):
    """One that takes nothing more when it is told to stop, finishes what is at work, and leaves with 0."""

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self.desk = desk

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.should_exit:  # asked twice: at once
            self.force_exit = True
        self.should_exit = True
        self.desk.draining = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.desk.drain()
        patience = asyncio.get_running_loop().call_later(self.desk.limits.drain_seconds, self.desk.give_up)
        await super().shutdown(sockets)
        patience.cancel()


class Service:
    """All parts of one server, put together."""

    def __init__(self, order: Order, limits: Limits = LIMITS) -> None:
        order.check()
        self.order, self.limits = order, limits
        self.entry = Entry(tokens(order.token_file), limits)
        models = Models(order.runs, order.device, spare() if order.threads is None else order.threads, order.batch, order.memory)
        line, log, store = Line(limits), Logbook(), Store(limits)
        engine = Engine(line, limits, models.threads)
        self.desk = Desk(limits, models, store, line, Jobs(limits), engine, log)
        log.watch(engine, line, store)
        self.inner = application(self.desk, self.entry, Files())
        self.inner.router.lifespan_context = self._life

    def guarded(self, port: int) -> Guard:
        """The application that listens on a port."""
        return Guard(self.inner, self.entry, self.limits, hosts(self.order, port), self.desk.log, body_of(self.inner))

    @contextlib.asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(hands())
        self.desk.engine.start()
        tidying = asyncio.create_task(self._tidy())
        try:
            yield
        finally:
            tidying.cancel()
            self.desk.engine.stop()
            await asyncio.to_thread(self.desk.engine.join, 5)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.desk.jobs.tidy()
            self.desk.store.tidy()


def spare() -> int:
    """Threads for the network: one for each core but one, which HTTP and files have.

    Threads that share a network's operation wait for the slowest at its end. With one for every core, whatever else runs for a
    moment holds all of them up: under load two threads on two cores gave less than one (docs/serving.md has the figures).
    """
    own = getattr(os, "sched_getaffinity", None)
    return max(1, min(torch.get_num_threads(), (len(own(0)) if own else os.cpu_count() or 1) - 1))


def hands() -> ThreadPoolExecutor:
    """Threads for what the event loop must not wait for: all of them there from the beginning, so that none comes later."""
    pool, met = ThreadPoolExecutor(HANDS, "hand"), threading.Barrier(HANDS + 1)
    for _ in range(HANDS):
        pool.submit(met.wait)
    met.wait()
    return pool


def hosts(order: Order, port: int) -> set[str]:
    """What a Host header may say: the address, this machine's own names where it listens there, and what is allowed by name."""
    names = {f"[{one}]" if ":" in one else one for one in (*LOCAL, order.host)}
    ports = {f"{name}:{port}" for name in names} | (names if port in (80, 443) else set())
    return {
        name.lower()
        for name in ports | {one if ":" in one else f"{one}:{port}" for one in order.allow_hosts} | set(order.allow_hosts)
    }


def serve(order: Order, log_level: str = "info") -> None:
    """Listens until it is told to stop.

    Raises:
        ValueError: If a folder is no run, or the address cannot be had.
    """
    service = Service(order)
    set_up(log_level)
    sys.setswitchinterval(SWITCH)
    listener = listening(order)
    port = listener.getsockname()[1]
    server = Server(config(service, port), service.desk)
    shown = f"[{order.host}]" if ":" in order.host else "127.0.0.1" if order.host in ("0.0.0.0", "localhost") else order.host
    print(
        f"open once, within {service.limits.key_seconds / 60:g} minutes: http://{shown}:{port}/enter?key={service.entry.key()}",
        flush=True,
    )
    server.run([listener])


def config(service: Service, port: int) -> uvicorn.Config:
    """How uvicorn is to listen on a port."""
    return uvicorn.Config(
        service.guarded(port),
        http=type("Impatient", (Impatient,), {"limits": service.limits}),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(service.limits.drain_seconds) + 5,
        h11_max_incomplete_event_size=16_384,
        loop="asyncio",
    )


def listening(order: Order) -> socket.socket:
    """The socket; bound before anything else begins, so that a port that is taken is told of in one line."""
    family = socket.AF_INET6 if ":" in order.host else socket.AF_INET
    # The protocol by name: asyncio sends small packets at once (TCP_NODELAY) only where it reads it there; else 40 ms go by.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((order.host, order.port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ValueError(f"--host {order.host} --port {order.port}: {error}") from error
    listener.listen(512)
    return listener
