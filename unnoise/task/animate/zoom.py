"""Into a picture without end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.model import Model
from unnoise.sampler import SDEdit, prior
from unnoise.tensor import Rng
from unnoise.times import Auto, Below


@torch.no_grad()
def zoom(model: Model, seed: int, cond: Mapping[str, Any], n: int, factor: float, strength: float) -> Tensor:
    """n pictures, each the middle of the last enlarged, in which the model paints what was too small to be seen (SDEdit).

    Args:
        model: Of pictures.
        seed: Of the first, and of all noise.
        cond: As `Model.sample` takes it.
        n: How many; each after the first costs one walk from `strength` on.
        factor: By how much each is enlarged, above 1.
        strength: How much of it is painted anew, in (0, 1].

    Raises:
        ValueError: For a factor or a strength that is none.
    """
    if not 1 < factor < 4:
        raise ValueError(f"--zoom {factor:g}: expected a factor from frame to frame, above 1 and below 4, such as 1.05")
    model.defaults = dataclasses.replace(model.defaults, batch=1)
    denoiser, schedule = model.guided(model.guidance), model.denoiser.schedule
    times = Below(strength, Auto())(schedule, model.defaults.steps)
    part = {name: value.to(model.device) for name, value in model.conditions(dict(cond), 1, denoiser.conds).items()}
    frames = [model.sample(seeds=[seed], cond=cond)]
    for k in range(1, n):
        z = model.codec.encode(_nearer(frames[-1], factor).to(model.device))
        rng = Rng([seed], device=model.device).at(k)
        with model._autocast():
            z = SDEdit(z)(denoiser, prior(schedule, z.shape[1:], times[0], rng), times, part, rng)
        frames.append(model.codec.decode(z).float().cpu().clamp(-1, 1))
    return torch.cat(frames)


def _nearer(x: Tensor, factor: float) -> Tensor:
    """The middle of a picture, enlarged to its size."""
    scale = torch.tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]]).expand(len(x), -1, -1)
    grid = F.affine_grid(scale, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(-1, 1)
