"""Servers as processes, for `benchmarks/serve.py`: ours, and a plain one around a loop of diffusers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

TOKEN = "a-token-of-the-benchmark"


class Process:
    """A server of one run, that listens when it is entered.

    Args:
        run: Its folder; of diffusers' files for a peer.
        threads: Of torch.
        peer: The plain server below.
    """

    def __init__(self, run: Path, threads: int, peer: bool = False) -> None:
        self.run, self.threads, self.peer = run, threads, peer
        self.folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Process:
        file = Path(self.folder.name, "tokens")
        file.write_text(TOKEN)
        file.chmod(0o600)
        ours = ["-m", "unnoise", "serve", str(self.run), "--port=0", f"--token-file={file}", "--device=cpu", "--log-level=error"]
        command = ["-m", "benchmarks._serving", str(self.run)] if self.peer else ours
        self.process = subprocess.Popen(
            [sys.executable, *command, *([str(self.threads)] if self.peer else [f"--threads={self.threads}"])],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if self.peer else None,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(self.threads)},
        )
        assert self.process.stdout is not None
        found = re.search(r"http://127.0.0.1:(\d+)", self.process.stdout.readline())
        assert found, "the server did not start"
        self.port = int(found[1])
        with httpx.Client() as client:
            while client.get(f"http://127.0.0.1:{self.port}/healthz").status_code != 200:
                time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()
        self.wait(40)
        self.folder.cleanup()

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Without certificates, which plain HTTP does not need, and which take longer to read than a small model to sample."""
        told = {"authorization": f"Bearer {TOKEN}", **headers}
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=told, timeout=300, verify=False)

    def gauge(self, name: str) -> float:
        """A number of the server's metrics."""
        with httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}) as client:
            text = client.get(f"http://127.0.0.1:{self.port}/metrics").text
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else float("nan")

    def holds(self) -> dict[str, float]:
        """Megabytes of memory, threads and open files."""
        time.sleep(1)  # until connections that clients closed are closed here too
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        resident, threads = (float(re.search(rf"{key}:\s+(\d+)", status)[1]) for key in ("VmRSS", "Threads"))  # type: ignore[index]
        return {"MB": resident / 1024, "threads": threads, "files": float(len(os.listdir(f"/proc/{self.process.pid}/fd")))}

    def terminate(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.told = time.monotonic()

    def wait(self, seconds: float) -> tuple[int, float]:
        """Exit code, and the seconds since it was told to stop."""
        code = self.process.wait(seconds)
        if self.process.stdout:
            self.process.stdout.close()
        return code, time.monotonic() - self.told


def exported_peer(run: Path, out: Path) -> tuple[Path, Path]:
    """The run, and the same as diffusers has it, proven to answer the same.

    Where diffusers has no such groups, both are of a network with other groups and fresh weights, which costs as much.
    """
    from unnoise.model import Model, load
    from unnoise.task.export.diffusers import write

    model = load(run)
    try:
        (out / "theirs").mkdir()
        write(model, out / "theirs")
    except ValueError:
        changes = ("network.UNet.groups=8", "sampler=DDIM", "times=Uniform", "model.Defaults.steps=20")
        Model(model.recipe.override(*changes), model.domain.facts()).save(out / "ours")
        run = out / "ours"
        write(load(run, overrides=["times=Trailing"]), out / "theirs")  # diffusers' word for such times
    return run, out / "theirs"


def plain_server(folder: str, threads: str) -> None:
    """What one writes in an afternoon: one network, one scheduler a request, one request at a time."""
    import base64
    import io
    import socket
    import threading

    import torch
    import uvicorn
    from diffusers import DDIMScheduler, UNet2DModel
    from fastapi import FastAPI
    from PIL import Image

    torch.set_num_threads(int(threads))
    app, lock = FastAPI(), threading.Lock()
    network = UNet2DModel.from_pretrained(folder, subfolder="unet").eval()
    plan = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    @app.post("/v1/sample")
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        with lock, torch.no_grad():
            torch.set_num_threads(int(threads))
            scheduler = DDIMScheduler.from_config(plan.config)
            scheduler.set_timesteps(body["steps"])
            n, label = body["n"], int(body["cond"]["label"])
            generator = torch.Generator().manual_seed(body["seed"])
            size = network.config.sample_size
            sides = size if isinstance(size, (list, tuple)) else (size, size)
            x = torch.randn(n, network.config.in_channels, *sides, generator=generator)
            for t in scheduler.timesteps:
                output = network(x, t, class_labels=torch.full((n,), label)).sample
                x = scheduler.step(output, t, x, generator=generator).prev_sample
            pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        images = []
        for one in pixels:
            file = io.BytesIO()
            Image.fromarray(one[0].numpy() if len(one) == 1 else one.permute(1, 2, 0).numpy()).save(file, "PNG")
            images.append({"b64_json": base64.b64encode(file.getvalue()).decode()})
        return {"images": images}

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])


if __name__ == "__main__":
    plain_server(*sys.argv[1:])
