"""From seed to seed, from class to class, from number to number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unnoise.condition import complete
from unnoise.denoiser import Denoise
from unnoise.denoiser.blended import Blended
from unnoise.model import Model
from unnoise.model.defaults import full_batches
from unnoise.sampler import DDIM, Fitted, Sampler, prior
from unnoise.task.animate.way import even, slerp
from unnoise.tensor import Rng
from unnoise.times import Times


class Tour:
    """Pictures along a way through seeds and conditions; the walks draw no noise, so that a picture follows from its place.

    At seeds the noise is that of the seed, between them on the great circle. At stops the conditions are those given; between
    them numbers are mixed, and the answers for what cannot be mixed, such as classes (`Blended`, twice the evaluations).

    Args:
        model: Sampled as it is by default; by DDIM where that draws noise.
        seeds: At least one, at equal distances.
        stops: Conditions at equal distances, at least one; {} is the null of all.
        loop: Whether the way goes from the last of each back to the first.
    """

    def __init__(self, model: Model, seeds: Sequence[int], stops: Sequence[Mapping[str, Any]], loop: bool = False) -> None:
        self.model, self.loop = model, loop
        self.denoiser = model.guided(model.guidance)
        self.sampler: Sampler = DDIM() if model.sampler.stochastic else model.sampler
        rule: Times = model.times if isinstance(self.sampler, Fitted) else model.times.unfitted
        self.times = rule(model.denoiser.schedule, model.defaults.steps)
        shape = model.codec.shape(model.domain.shape)
        self.noise = prior(model.denoiser.schedule, shape, self.times[0], Rng(list(seeds), device=model.device))
        known = self.denoiser.conds
        rows = [complete(known, model.conditions(dict(stop), 1, known), 1, "cpu") for stop in stops]
        self.stops = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    @torch.no_grad()
    def frames(self, n: int) -> Tensor:
        """n pictures at an even pace, (n, C, H, W) in [-1, 1] on the CPU; of a loop the last comes just before the first."""
        self.model.denoiser.eval()
        return even(self._at, n, self.loop)

    def _at(self, share: Tensor) -> Tensor:
        """The pictures at shares of the way. Batches are always full: a picture does not depend on the others'."""
        size, done = self.model.defaults.batch, []
        for rows in full_batches(len(share), size):
            made = self._made(share[rows])
            done.append(made[: min(size, len(share) - rows[0])])
        return torch.cat(done)

    def _made(self, share: Tensor) -> Tensor:
        legs = self._legs(share, len(self.noise))
        x = torch.cat([slerp(self.noise[i], self.noise[j], part[None]) for i, j, part in legs])
        cond, denoiser = self._told(share)
        x = denoiser.project(x, cond)
        with self.model._autocast():
            x = self.sampler(denoiser, x, self.times, cond)
        return self.model.codec.decode(x).float().cpu().clamp(-1, 1)

    def _told(self, share: Tensor) -> tuple[dict[str, Tensor], Denoise]:
        """The conditions at shares of the way, and the denoiser that stands between two of them."""
        if not self.stops:
            return {}, self.denoiser
        legs = self._legs(share, len(next(iter(self.stops.values()))))
        part = torch.stack([local for _, _, local in legs])
        here, there = (
            {name: value[[leg[end] for leg in legs]].to(self.model.device) for name, value in self.stops.items()}
            for end in (0, 1)
        )
        for name, value in here.items():
            if value.is_floating_point():
                mixed = torch.lerp(value, there[name], part.to(value).reshape(-1, *(1 for _ in value.shape[1:])))
                here[name], there[name] = (torch.where(mixed.isnan(), end, mixed) for end in (value, there[name]))
        if all(torch.equal(here[name].nan_to_num(9e9), there[name].nan_to_num(9e9)) for name in here):
            return here, self.denoiser
        return here, Blended(self.denoiser, there, part)

    def _legs(self, share: Tensor, points: int) -> list[tuple[int, int, Tensor]]:
        """Between which points each share lies, and where between them."""
        legs = points if self.loop and points > 1 else points - 1
        if not legs:
            return [(0, 0, share.new_zeros(())) for _ in share]
        first = (share * legs).floor().clamp(max=legs - 1)
        return [(int(i), (int(i) + 1) % points, part) for i, part in zip(first, share * legs - first, strict=True)]
