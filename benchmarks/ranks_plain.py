"""The controls of `benchmarks/ranks.py`: the loop that everybody writes, resumed, and spread over processes.

`python -m benchmarks ranks_plain`.

It shuffles and draws noise with torch's generators, each process with a seed of its own, keeps model and optimiser every third
step, and after a kill goes on from there. How far does it end from the same loop that was left alone, and from one process?
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from points import Points

STEPS, BATCH, EVERY = 20, 8, 3
KILLS = (1, 4, 7, 13, 19)  # steps in which it is killed


class Loop:
    """Model, optimiser and generators; `ranks` processes, one after another in this one, whose gradients are averaged."""

    def __init__(self, ranks: int = 1) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Dropout(0.1), nn.Linear(32, 8))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)
        self.draws = [torch.Generator().manual_seed(rank) for rank in range(ranks)]
        self.shuffle = torch.Generator().manual_seed(0)
        self.left: list[int] = []

    def batch(self) -> list[int]:
        if len(self.left) < BATCH:
            self.left = torch.randperm(len(Points.x), generator=self.shuffle).tolist()
        found, self.left = self.left[:BATCH], self.left[BATCH:]
        return found

    def step(self) -> None:
        rows = Points.x[self.batch()].chunk(len(self.draws))
        self.optimizer.zero_grad()
        for x, draw in zip(rows, self.draws, strict=True):
            noisy = x + torch.randn(x.shape, generator=draw)
            ((self.model(noisy) - x).square().mean() / len(rows)).backward()
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        copied = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        return {"model": copied, "optimizer": torch.utils._pytree.tree_map(_copy, self.optimizer.state_dict())}

    @property
    def weights(self) -> Tensor:
        return torch.cat([weight.detach().flatten() for weight in self.model.parameters()])


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def straight(ranks: int = 1) -> Tensor:
    loop = Loop(ranks)
    for _ in range(STEPS):
        loop.step()
    return loop.weights


def killed(at: int) -> Tensor:
    """Killed in this step, and gone on from what was kept last."""
    loop, kept, saved = Loop(), Loop().state(), 0
    for step in range(1, at):
        loop.step()
        if step % EVERY == 0:
            kept, saved = loop.state(), step
    again = Loop()
    again.model.load_state_dict(kept["model"])
    again.optimizer.load_state_dict(kept["optimizer"])
    for _ in range(saved, STEPS):
        again.step()
    return again.weights


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def main() -> None:
    torch.set_num_threads(1)
    one = straight()
    resumed = {f"killed in step {at}": apart(killed(at), one) for at in KILLS}
    result = {
        "steps": STEPS,
        "resumed": resumed,
        "resumed_equal_where_something_was_kept": sum(
            value == 0 for at, value in zip(KILLS, resumed.values(), strict=True) if at > EVERY
        ),
        "processes": {str(ranks): apart(straight(ranks), one) for ranks in (2, 4)},
        "repeated_equal": apart(straight(), one) == 0,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
