"""What a classifier of noised data knows: how often it is right, by noise band."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from unnoise.loss import GOLDEN
from unnoise.model import Model
from unnoise.task.bands import BANDS, BATCH
from unnoise.tensor import Rng, expand

ITEMS = 2000


@torch.no_grad()
def recognition(model: Model, split: str = "val", items: int = ITEMS) -> dict[str, Any]:
    """Accuracy on held-out items, each noised to one time: of all bands of t, from data (0.0-0.2) to noise (0.8-1.0).

    The same items, times and noises at every call.

    Args:
        model: Its denoiser is a `Recogniser`.
        split: Of its data.
        items: How many at most.
    """
    recogniser: Any = model.denoiser
    ((name, condition),) = recogniser.conds.items()
    dataset = model.domain.dataset(split)
    n = min(items, len(dataset))
    quantiles = (torch.arange(n, dtype=torch.float64) + 0.5) * GOLDEN % 1
    times, hits, known = model.denoiser.schedule.uniform(quantiles), [], []
    for rows in torch.arange(n).split(BATCH):
        batch = dataset.batch(rows)
        x = model.codec.encode(batch["x"].to(model.device))
        alpha, sigma = (expand(c.to(x), x) for c in model.denoiser.schedule(times[rows]))
        x_t = alpha * x + sigma * Rng(0, rows).normal(x.shape[1:], "eps").to(x)
        hits.append(recogniser.log_class(x_t, times[rows]).argmax(1).cpu() == batch[name])
        known.append(batch[name] < len(condition.classes))
    hit, kept, bands = torch.cat(hits).double(), torch.cat(known), (quantiles * BANDS).long()
    seen = [b for b in range(BANDS) if (kept & (bands == b)).any()]
    by_band = {f"{b / BANDS:.1f}-{(b + 1) / BANDS:.1f}": float(hit[kept & (bands == b)].mean()) for b in seen}
    return {"accuracy": float(hit[kept].mean()), "accuracy_by_band": by_band, "items": int(kept.sum()), "split": split}


def write(run: Path, model: Model) -> dict[str, Any]:
    """The same into the run's `report.json`, from held-out items or, where there are none, from training items."""
    try:
        found = recognition(model)
    except ValueError:
        found = recognition(model, "train")
    (run / "report.json").write_text(json.dumps(found, indent=1), "utf-8")
    return found
