"""How pictures come out of the noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unnoise.model import Model
from unnoise.sampler import Moment


@torch.no_grad()
def denoising(model: Model, seeds: Sequence[int], cond: Mapping[str, Any] | None) -> tuple[Tensor, Tensor]:
    """x_t after each step of a walk, brought to unit size, and the x0 which that step believed in: (steps, n, C, H, W) each."""
    states, beliefs = defaultdict(list), defaultdict(list)
    schedule = model.denoiser.schedule

    def keep(moment: Moment) -> None:
        alpha, sigma = schedule(torch.tensor(moment.t, dtype=torch.float64))
        size = float((alpha**2 + sigma**2).sqrt())
        states[moment.k].append(model.codec.decode(moment.x / size).float().cpu())
        beliefs[moment.k].append(model.codec.decode(moment.x0).float().cpu())

    model.sample(seeds=seeds, cond=cond, callback=keep)
    whole = [k for k in sorted(states) if sum(map(len, states[k])) == len(seeds)]
    if not whole:
        raise ValueError(
            f"{model.sampler!r} takes steps of its own in each batch; expected another, or at most {model.defaults.batch} seeds"
        )
    return torch.stack([torch.cat(states[k]) for k in whole]), torch.stack([torch.cat(beliefs[k]) for k in whole])
