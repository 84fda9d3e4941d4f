"""Samples of a job: the model's denoiser on the job's canvas, under the method's rule, from as many seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unnoise.codec import Identity
from unnoise.denoiser import Denoise
from unnoise.denoiser.tiled import Tiled, TiledNetwork
from unnoise.guidance import Clip, Guidance, Guided, Threshold
from unnoise.model import Model
from unnoise.operator import Measurement
from unnoise.sampler import Moment, Sampler, prior
from unnoise.task.edit.jobs import Job
from unnoise.tensor import Cond, Rng
from unnoise.times import Times


def latent(measured: Measurement, model: Model) -> Measurement:
    """What was measured of the picture, as a measurement of its latent."""
    if isinstance(model.codec, Identity):
        return measured
    return Measurement(measured.operator @ model.codec.decode, measured.y, measured.std)


def believed(model: Model, rule: Guidance | None, shape: Sequence[int]) -> Denoise:
    """The denoiser of samples of a shape, in tiles where they are larger than the model's own, under its guidance and the rule.

    What bounds x0 (`Clip`, `Threshold`) stays outermost: a gradient through it would be none where it holds.
    """
    own = model.codec.shape(model.domain.shape)
    if model.shown:
        return _alone(model, shape, own)
    bounds = [one for one in model.guidance if isinstance(one, Clip | Threshold)]
    denoiser = model.guided([one for one in model.guidance if one not in bounds])
    if tuple(shape) != tuple(own):
        denoiser = Tiled(denoiser, own[1:])
    rules = [*([rule] if rule else []), *bounds]
    return Guided(denoiser, *rules) if rules else denoiser


def _alone(model: Model, shape: Sequence[int], own: Sequence[int]) -> Denoise:
    """A conditional model's own belief, its network in tiles where pictures are larger than those that it was made for."""
    if all(side <= most for side, most in zip(shape, own, strict=True)):
        return model.guided(model.guidance)
    wide = copy.copy(model)
    wide.denoiser = copy.copy(model.denoiser)
    wide.denoiser._modules = {**model.denoiser._modules, "network": TiledNetwork(model.denoiser.network, own[1:])}
    return wide.guided(model.guidance)


@torch.no_grad()
def draw(
    model: Model,
    job: Job,
    sampler: Sampler,
    rule: Guidance | None,
    times: Times,
    seeds: Sequence[int],
    cond: Mapping[str, Any],
    callback: Callable[[Moment], object] | None = None,
    shown: Cond | None = None,
    mirrored: Sequence[bool] = (),
) -> Tensor:
    """Samples of the job's result, (n, C, H, W) on the CPU; sample i is a function of its seed, and of the batch's size.

    Where `mirrored` says so, it is of the opposite of its seed's noise. `shown` is one row of what a conditional model is shown,
    whose sides are the picture's own.
    """
    sides = job.picture.size if shown else job.canvas
    shape = model.codec.shape((model.domain.shape[0], *sides))
    denoiser, done = believed(model, rule, shape), []
    visited = times(denoiser.schedule, model.defaults.steps)
    height, width = job.picture.size
    for first in range(0, len(seeds), model.defaults.batch):
        some = seeds[first : first + model.defaults.batch]
        rng = Rng(list(some), device=model.device)
        if any(mirrored):
            rng = rng.mirrored(mirrored[first : first + len(some)])
        part = {k: v.to(model.device) for k, v in model.conditions(dict(cond), len(some), denoiser.conds).items()}
        part |= {name: value.to(model.device).expand(len(some), *value.shape[1:]) for name, value in (shown or {}).items()}
        x = prior(denoiser.schedule, shape, visited[0], rng)
        with model._autocast():
            for moment in sampler.walk(denoiser, x, visited, part, rng):
                if callback:
                    callback(moment)
        done.append(model.codec.decode(moment.x)[..., :height, :width].float().cpu())
    return torch.cat(done)
