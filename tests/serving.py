"""What the tests of the server share: tiny runs, a server of them on a real socket in a thread of its own, and its client."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch

from unnoise.recipe import Recipe
from unnoise.serve.limits import LIMITS, Limits
from unnoise.serve.server import Order, Server, Service, config, listening
from unnoise.task.train import build

TINY = {
    "digits": ["network.UNet.width=8", "network.UNet.heads=1", "model.Defaults.batch=8", "model.Defaults.steps=4"],
    "points": ["network.MLP.width=16", "model.Defaults.batch=8", "model.Defaults.steps=4"],
    "classifier-digits": ["network.Classifier.width=8", "network.Classifier.heads=1"],
}
TOKEN = "a-token-of-the-tests-alone"


def run_of(recipe: str, folder: Path, *changes: str) -> Path:
    """A run with weights that are not the fresh network's zeros."""
    model = build(Recipe.read(recipe, [*TINY[recipe], *changes]), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    model.save(folder)
    return folder


@dataclass
class Running:
    """A server that listens."""

    service: Service
    server: Server
    port: int
    thread: threading.Thread

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {TOKEN}", **headers}, timeout=120)


@contextmanager
def running(runs: Sequence[Path], folder: Path, limits: Limits = LIMITS, **order: Any) -> Iterator[Running]:
    """A server of these runs, on a free port."""
    file = folder / "tokens"
    file.write_text(f"token:{TOKEN}\nother:{TOKEN}-of-another\n")
    file.chmod(0o600)
    wanted = Order(list(runs), port=0, token_file=file, threads=1, **order)
    service = Service(wanted, limits)
    listener = listening(wanted)
    port = listener.getsockname()[1]

    server = Server(config(service, port), service.desk)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    try:
        yield Running(service, server, port, thread)
    finally:
        server.should_exit = True
        thread.join(30)
