"""A denoiser that is shown what it answered before."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from unnoise.condition import Condition, Conditions
from unnoise.denoiser.base import Answer, Denoiser, Time, times
from unnoise.tensor import Cond, Rng, expand

ESTIMATE = "estimate"  # the condition, by name


class SelfConditioned(Denoiser):
    """E[x | x_t, what was answered before]: the network sees its earlier estimate of x beside x_t, of the same sides.

        training: x0' = D(x_t, none) without gradient, of half of the rows;   x0 = D(x_t, x0') or, of the others, D(x_t, none)
        walking:  x0_k = D(x_t, x0_{k - 1}),   x0_{-1} = none

    A walk remembers for its own rows alone, so that a row is the same in any company. Under classifier-free guidance what is
    told a condition recalls its own estimates, and what is not told recalls its own. Where an answer is differentiated by x_t,
    and outside of walks, nothing is recalled: the answer is then a function of x_t, of a network that was trained so in half.
    A walk takes as many evaluations as without; a training step on a CPU half a forward pass more, elsewhere a whole one.

    Args:
        network, schedule, predict, level, project: As those of `Denoiser`; the network takes the condition `estimate`.

    Reference: Chen et al., Analog Bits, 2022, section 3.2 and algorithm 1. arXiv:2208.04202
    """

    remembers = False
    earlier: Tensor | None = None

    @staticmethod
    def own(shape: Sequence[int]) -> Conditions:
        """The condition by which networks of samples of a shape are shown the estimate; its null is none."""
        return {ESTIMATE: Condition("concat", tuple(shape), drop=0.0)}

    def begin(self) -> Self:
        """The same for one walk, with a memory of its own."""
        walking = copy.copy(self)
        walking.remembers, walking.earlier = True, None
        return walking

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        if not self.remembers or x_t.requires_grad:
            return super().answer(x_t, t, cond)
        if self.earlier is not None:
            cond = {**(cond or {}), ESTIMATE: _rows(self.earlier, len(x_t)).to(x_t)}
        found = super().answer(x_t, t, cond)
        self.earlier = found.x0.detach()
        return found

    @torch.no_grad()
    def recalled(self, x_t: Tensor, t: Tensor, cond: Cond, rng: Rng) -> dict[str, Tensor]:
        """The conditions of a training batch with the estimate of half of its rows, NaN for the others; keyed by `rng`."""
        chosen = rng.uniform((), ESTIMATE) < 0.5
        if x_t.device.type == "cpu":  # elsewhere to count them would be to wait for the device
            rows = chosen.nonzero().flatten()
            rows = rows if len(rows) else torch.zeros(1, dtype=torch.int64)  # weights in parts are gathered by all processes
            told = {name: value[rows] for name, value in cond.items()}
            found = torch.zeros_like(x_t).index_copy_(
                0, rows, super().answer(x_t[rows], times(t, len(x_t))[rows], told).x0.to(x_t)
            )
        else:
            found = super().answer(x_t, t, cond).x0.to(x_t)
        torch.clear_autocast_cache()  # it keeps casts of weights that know of no gradient
        return {**cond, ESTIMATE: torch.where(expand(chosen.to(x_t.device), x_t), found, torch.nan)}


def _rows(earlier: Tensor, n: int) -> Tensor:
    """An estimate for n rows: guidance asks for twice as many as the walk has, and may begin or end on the way."""
    return earlier[:n] if n <= len(earlier) else earlier.repeat(n // len(earlier), *[1] * (earlier.ndim - 1))
