"""What the laws of training share: a small network, points, a story, and what a run must be equal in."""

import hashlib
import json
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from unnoise.tensor import Rng
from unnoise.train import State, save

STORY = {"lr": 1e-2, "decay": "cosine", "warmup": 3, "micro_batch": 5, "log_every": 4, "save_every": 6, "weight_decay": 0.1}


class Points:
    """`n` points in 4 dimensions; keeps the indices that were asked for."""

    def __init__(self, n: int = 20) -> None:
        self.x = Rng(1, torch.arange(n)).normal((4,), "points")
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor, rng: Rng | None = None) -> dict[str, Tensor]:
        if rng is not None:
            self.asked += indices.tolist()
        return {"x": self.x[indices]}


def denoise(model: nn.Module, batch: dict[str, Tensor], rng: Rng) -> Tensor:
    x = batch["x"]
    return (model(x + rng.normal(x.shape[1:], "eps")) - x).square().mean(1)


def network(dropout: float = 0.0, norm: bool = False) -> nn.Module:
    layers = [nn.Linear(4, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.SiLU(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, nn.Linear(16, 4))
    for k, weight in enumerate(model.parameters()):
        weight.data = 0.3 * Rng(k).normal(weight.shape, "weight")[0]
    return model


def silent(line: str) -> None:
    pass


class At:
    """A hook that does something after one step."""

    every = 1

    def __init__(self, step: int, action) -> None:
        self.step, self.action = step, action

    def __call__(self, state: State) -> None:
        if state.step == self.step:
            self.action(state)


def send(number: int):
    return lambda state: os.kill(os.getpid(), number)


def outcome(folder: Path, step: int) -> tuple[str, str, list[dict]]:
    """Digests of all tensors and of the state, and the log without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("time")
    files = [folder / "state" / f"step-{step}" / name for name in ("state.safetensors", "state.json")]
    return *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files), rows


def two(folder: Path) -> None:
    for step in (3, 6):
        save(folder, step, {"w": torch.full((50,), float(step))}, {"options": {}})
