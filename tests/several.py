"""Trainings over several processes on this machine, as torchrun would start them, for tests and benchmarks.

`python tests/several.py JOBS.json` does one job after another, each `{"world": N, "folder": ..., ...}` of `story`; torch is
imported once, and the processes of a job are forked from there.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.loss import Importance
from unnoise.schedule import VP
from unnoise.tensor import Rng
from unnoise.train import State, Trainer, checkpoint

PATIENCE, ALL = 10.0, -1


class Points:
    """`n` points in 6 dimensions."""

    def __init__(self, n: int = 50, dtype: torch.dtype = torch.float32, asked: Path | None = None) -> None:
        self.x = Rng(1, torch.arange(n)).normal((6,), "points", dtype=dtype)
        self.asked = asked  # where it is kept which rows of which step had which items

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor, rng: Rng | None = None) -> dict[str, Tensor]:
        if self.asked and rng is not None:
            with open(self.asked, "a") as file:
                for key, row, item in zip(rng.key[0].tolist(), rng.index.tolist(), indices.tolist(), strict=True):
                    file.write(f"{key} {row} {item}\n")
        return {"x": self.x[indices]}


class Network(nn.Module):
    """Blocks whose sizes no number of processes divides."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 7)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(7, 11), nn.SiLU(), nn.Dropout(dropout), nn.Linear(11, 7)) for _ in "ab"
        )
        self.out = nn.Linear(7, 6)
        self.register_buffer("scale", torch.full((1,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + self.scale * block(h)
        return self.out(h)


class Around(nn.Module):
    """As a denoiser holds its network, beside a weight of its own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.gain = network, nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * self.network(x)


class Objective(nn.Module):
    """Denoising, weighed by a weight that learns."""

    def __init__(self, at: Callable[[], float] | None = None, parts: int = 0) -> None:
        super().__init__()
        self.law = Importance(parts, 2, 0.1) if parts else None
        self.weight, self.at = nn.Parameter(torch.zeros(3)), at

    def forward(self, model: nn.Module, batch: dict[str, Tensor], rng: Rng) -> Tensor:
        x = batch["x"]
        losses = (model(x + rng.normal(x.shape[1:], "eps", dtype=x.dtype)) - x).square().mean(1)
        if self.at:
            losses = losses * self.at()
        if self.law:
            losses = self.law.weigh(VP(), self.law(VP(), rng), losses)
        return (-self.weight.sum()).exp() * losses + self.weight.sum()


class Do:
    """A hook that does something after each step, on the first process."""

    every = 1

    def __init__(self, action: Callable[[State], None]) -> None:
        self.action = action

    def __call__(self, state: State) -> None:
        self.action(state)


def story(
    folder: str,
    *,
    steps: int = 20,
    shard: bool = False,
    double: bool = False,
    micro_batch: int | None = None,
    dropout: float = 0.0,
    fault: str = "",
    rank: int = 1,
    at: int = 7,
    parts: int = 0,
    threads: int = 1,
    asked: str = "",
    say: Callable[[str], object] = lambda line: None,
    **options: Any,
) -> nn.Module:
    """A small training; a `fault` ("kill in step", "nan in step", "term in save", ...) befalls one process, or ALL, at a step."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    dtype = torch.float64 if double else torch.float32
    model, data = Around(Network(dropout)).to(dtype), Points(dtype=dtype, asked=Path(asked) if asked else None)
    here, kind, _, place = int(os.environ.get("RANK", 0)), *(fault or "none in nothing").split(" ")
    calls = 0

    def befall() -> None:
        if rank in (here, ALL):
            strike(kind)

    def in_step() -> float:
        nonlocal calls
        calls += 1
        if place == "step" and calls == at:
            if kind == "nan":
                return math.nan if rank in (here, ALL) else 1.0
            befall()
        return 1.0

    objective = Objective(in_step, parts).to(dtype)
    if place == "save":
        interrupt_saves(at, befall)
    if place == "barrier":
        interrupt_waiting(at, befall)
    given = {"lr": 1e-2, "warmup": 3, "log_every": 4, "save_every": 5, "weight_decay": 0.1, "ema_lengths": (0.1,)}
    trainer = Trainer(steps, 8, **{**given, "shard": shard, "micro_batch": micro_batch, "patience": PATIENCE, **options})

    def look(state: State) -> None:
        with torch.no_grad():
            state.averaged(data.x[:2]) + state.model(data.x[:2])

    return trainer.fit(model, objective, data, folder, hooks=[Do(look)], say=say)


def strike(kind: str) -> None:
    if kind == "raise":
        raise RuntimeError("struck by lightning")
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM}[kind])


def interrupt_saves(step: int, befall: Callable[[], None]) -> None:
    """While the first process writes the first checkpoint after `step`: there, or on whoever waits for it."""
    from unnoise.train import ranks

    plain = checkpoint.save

    def save(folder: Path, saved: int, *arguments: Any) -> Path:
        if saved > step:
            if int(os.environ.get("RANK", 0)) == 0:
                befall()
            time.sleep(0.5)
        return plain(folder, saved, *arguments)

    checkpoint.save = save
    write = ranks.Several.write

    def wait(self: ranks.Several, tensors: Any, work: Any) -> None:
        if self.rank:
            befall()
        write(self, tensors, work)

    ranks.Several.write = wait  # type: ignore[method-assign]


def interrupt_waiting(step: int, befall: Callable[[], None]) -> None:
    """As the others wait for all to agree."""
    from unnoise.train import ranks

    agree, calls = ranks.Several.agree, 0

    def asked(self: ranks.Several, number: int) -> int:
        nonlocal calls
        calls += 1
        if calls == step:
            time.sleep(0.3)
            befall()
        return agree(self, number)

    ranks.Several.agree = asked  # type: ignore[method-assign]


def launch(world: int, work: Callable[[], object], err: Path | None = None) -> list[int]:
    """`work` in so many processes; the process ids. Each ends with its exit status."""
    port, children = free_port(), []
    for rank in range(world):
        pid = os.fork()
        if pid:
            children.append(pid)
            continue
        if world > 1:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        if err:
            os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
        code = 0
        try:
            work()
        except SystemExit as left:
            code = int(left.code or 0)
        except BaseException as error:
            print(
                f"unnoise: {error}" if os.environ.get("RANK") is None else f"unnoise: rank {rank} of {world}: {error}",
                file=sys.stderr,
            )
            code = 2 if isinstance(error, ValueError) else 1
        sys.stderr.flush()
        os._exit(code)
    return children


def collect(children: list[int], limit: float) -> tuple[list[int | None], float]:
    """Exit statuses (negative: by that signal; None: still there at the limit, and killed), and seconds until all were gone."""
    began, found = time.monotonic(), dict.fromkeys(children, None)
    left = set(children)
    while left and time.monotonic() - began < limit:
        for pid in list(left):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                found[pid] = os.waitstatus_to_exitcode(status)  # type: ignore[assignment]
                left.discard(pid)
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return list(found.values()), time.monotonic() - began


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def do(job: dict[str, Any], limit: float = 60) -> dict[str, Any]:
    """One job: exit statuses, seconds until all were gone, and the lines of standard error."""
    options = {**job}
    world, err = options.pop("world"), Path(job["folder"]).with_suffix(".err")
    err.parent.mkdir(parents=True, exist_ok=True)
    err.unlink(missing_ok=True)
    codes, seconds = collect(launch(world, lambda: story(**options), err), limit)
    said = [line for line in err.read_text().splitlines() if line.startswith("unnoise: ")]
    return {"codes": codes, "seconds": round(seconds, 2), "said": said}


def outcome(folder: Path, step: int) -> dict[str, Any]:
    """Digests of all tensors and of the state, and the log without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("time")
    state = folder / "state" / f"step-{step}"
    return {**json.loads((state / "manifest.json").read_text())["files"], "log": rows}


def main(path: str) -> None:
    """Every job in its turn; prints what became of each."""
    import torch.distributed.fsdp  # noqa: F401  (once, before forking)

    print(json.dumps([do(job) for job in json.loads(Path(path).read_text())]))


if __name__ == "__main__":
    main(sys.argv[1])
