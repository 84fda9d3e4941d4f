"""Loss by noise band: where on the way from data to noise a model is right, and where it is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unnoise.denoiser import Denoiser
from unnoise.domain import Dataset
from unnoise.loss import GOLDEN, Objective
from unnoise.tensor import Rng

Learnt = Callable[[Mapping[str, Tensor], Rng], Mapping[str, Tensor]]
BANDS = 5
ITEMS = 256
BATCH = 64


@torch.no_grad()
def by_band(model: Denoiser, learnt: Learnt, objective: Objective, dataset: Dataset, items: int = ITEMS) -> dict[str, float]:
    """Mean loss in each of five bands of t, on the same items, times and noises at every call.

    Args:
        model, objective: What is trained.
        learnt: Makes what is learnt of a batch (`Model.learnt`).
        dataset: Its first `items` are taken, each at one time; times are spread evenly.
    """
    device = next(model.parameters()).device
    n = min(items, len(dataset))
    quantiles = (torch.arange(n, dtype=torch.float64) + 0.5) * GOLDEN % 1
    times, losses = model.schedule.uniform(quantiles), []
    for rows in torch.arange(n).split(BATCH):
        batch = {name: value.to(device) for name, value in dataset.batch(rows).items()}
        rng = Rng(0, rows).at(1)
        losses.append(objective.at(model, learnt(batch, rng), times[rows], rng).cpu())
    return _means(torch.cat(losses), quantiles)


def _means(losses: Tensor, quantiles: Tensor) -> dict[str, float]:
    bands = (quantiles * BANDS).long()
    return {
        f"{band / BANDS:.1f}-{(band + 1) / BANDS:.1f}": float(losses[bands == band].mean())
        for band in range(BANDS)
        if (bands == band).any()
    }
