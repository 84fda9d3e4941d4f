"""Ways in which a training meets NaN or infinity, and whether it stops in that very step with nothing of it kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from training import At, Points, denoise, network, silent

from unnoise.tensor import Rng
from unnoise.train import NonFinite, Order, State, Trainer, load

KINDS = ("data nan", "data inf", "loss", "one loss", "gradient", "weight", "average", "bias", "lr", "objective")
STEPS = 24


class Weighing(nn.Module):
    """An objective with a weight of its own, which is spoiled at a step."""

    def __init__(self, bad: int) -> None:
        super().__init__()
        self.bad, self.step = bad, 0
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, model: nn.Module, batch: dict[str, Tensor], rng: Rng) -> Tensor:
        self.step += 1
        return denoise(model, batch, rng) * (self.scale if self.step != self.bad else self.scale * math.nan)


def inject(folder: Path, kind: str, step: int, **options: Any) -> dict[str, Any]:
    """Spoil a training at a step, once, in this way; what became of it."""
    data, trainer = Points(), Trainer(STEPS, 4, lr=1e30 if kind == "lr" else 1e-3, save_every=1, keep=STEPS, **options)
    calls = spoiled = 0

    def objective(model: nn.Module, batch: dict[str, Tensor], rng: Rng) -> Tensor:
        nonlocal calls
        calls += 1
        losses = denoise(model, batch, rng)
        if calls != step:
            return losses
        if kind == "loss":
            return losses * math.inf
        if kind == "one loss":
            return torch.where(torch.arange(len(losses)) == 2, math.nan, losses)
        return losses + (model(batch["x"]).sum(1) * 0).sqrt() if kind == "gradient" else losses

    def spoil(state: State) -> None:
        nonlocal spoiled
        spoiled += 1
        if spoiled > 1:  # after going back
            return
        module = state.averaged if kind == "average" else state.model
        tensor = module[4].bias if kind == "bias" else module[0].weight  # type: ignore[index]
        tensor.data.view(-1)[0] = math.inf if kind == "bias" else math.nan

    if kind.startswith("data"):
        item = int(Order(len(data), 4, 0).indices(step)[1])
        first = next(s for s in range(1, STEPS + 1) if item in Order(len(data), 4, 0).indices(s))
        data.x[item, 1] = math.nan if kind == "data nan" else math.inf
        step = first
    hooks = [At(step - 1, spoil)] if kind in ("weight", "average", "bias") else []
    stopped, said = None, ""
    try:
        given: Any = Weighing(step) if kind == "objective" else objective
        trainer.fit(network(), given, data, folder, hooks=hooks, say=silent)
    except NonFinite as error:
        said, stopped = str(error), int(str(error).split()[1].rstrip(":"))
    saved = [load(path) for path in (folder / "state").glob("step-*")]
    finite = all(bool(torch.isfinite(t).all()) for c in saved for t in c.tensors.values() if t.is_floating_point())
    # A weight that is spoiled after a step is found when that step is saved, before the next one.
    due = {step, step - 1} if hooks else {1, 2} if kind == "lr" else {step}
    return {
        "kind": kind,
        "step": step,
        "stopped": stopped,
        "finished": (folder / "state" / f"step-{STEPS}").is_dir(),
        "kept": finite,
        "back": [row for row in map(json.loads, (folder / "log.jsonl").open()) if "rolled_back" in row],
        "lr_told": [f"lr {trainer.lr / 2**k:.3g}" in said for k in range(5)],
        "in_step": stopped in due,
        "kept_finite": finite and max((c.step for c in saved), default=0) < (stopped or 0),
        "one_line": "\n" not in said and "is not finite" in said and "lr" in said,
    }


def naive(kind: str, step: int) -> bool:
    """Whether a plain loop, which looks at nothing, ends with weights that are not finite."""
    model, data = network(), Points()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e30 if kind == "lr" else 1e-3)
    order = Order(len(data), 4, 0)
    if kind.startswith("data"):
        data.x[int(order.indices(step)[1]), 1] = math.nan if kind == "data nan" else math.inf
    for k in range(1, STEPS + 1):
        losses = denoise(model, data.batch(order.indices(k)), order.rng(k))
        if k == step and kind in ("loss", "one loss", "objective"):
            losses = losses * math.nan
        if k == step and kind == "gradient":
            losses = losses + (model(data.x[:4]).sum(1) * 0).sqrt()
        if k == step - 1 and kind in ("weight", "average", "bias"):
            model[0].weight.data[0, 0] = math.nan
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
    return not all(bool(torch.isfinite(w).all()) for w in model.parameters())
