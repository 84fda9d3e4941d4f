"""What a conditional network is shown of x: a measurement, brought to the sides of x, and what was drawn of its making."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, reduce

import torch
from torch import Tensor

from unnoise.condition import Condition
from unnoise.operator.base import Operator
from unnoise.operator.law import NOISE, Law
from unnoise.tensor import Cond, Rng, expand

SEEN = "seen"  # the condition, by name
EVEN = 0.02  # the least singular value, as a share of the largest, that an inversion may divide by: 8-bit y are rounded


class Shown:
    """A measurement of x as conditions: y = A(x) + noise, A fixed or drawn, as `seen`; and what the laws tell of their draws.

    `seen` has the sides of x: it is y where that has them, else what A makes of y on the way back (`Operator.lift`). x is
    looked for around a `centre`: what is seen, in the channels of x. Where y is free of noise, and its inversion divides by
    nothing small, answers can be made `consistent`: A(x0) = y exactly, while of x0 what A does not see is left as it was.

    Args:
        members: Operators and laws of them; the first one acts on x, each other on what the one before gives.
        shape: Of x, (C, H, W).

    Raises:
        ValueError: If there is no member, or x are no pictures.

    Reference: x0 split into what A sees and what it does not: Wang et al., Zero-Shot Image Restoration Using Denoising Diffusion
    Null-Space Model, 2023, eq. 7-9. arXiv:2212.00490
    """

    def __init__(self, members: Sequence[Operator | Law], shape: Sequence[int]) -> None:
        if not members or len(shape) != 3:
            raise ValueError(f"{len(members)} operators for samples of shape {tuple(shape)}; expected one, of pictures (C, H, W)")
        self.members, self.shape = tuple(members), tuple(shape)

    @cached_property
    def conds(self) -> dict[str, Condition]:
        """The conditions, none of which is ever dropped."""
        told = [law.conds(self.shape) for law in self.members if isinstance(law, Law)]
        seen = self.of(torch.zeros(1, *self.shape), Rng(0))[SEEN]
        return reduce(lambda a, b: a | b, told, {SEEN: Condition("concat", tuple(seen.shape[1:]), drop=0.0)})

    @cached_property
    def exact(self) -> bool:
        """Whether answers are made consistent with y."""
        told = self.of(torch.zeros(1, *self.shape), Rng(0))
        operator = self.operator(told)
        spectrum = operator.spectrum(torch.zeros(1, *self.shape)) if operator.linear else None
        return NOISE not in told and spectrum is not None and bool(spectrum.s[spectrum.known].min() > EVEN * spectrum.s.max())

    def of(self, x: Tensor, rng: Rng) -> dict[str, Tensor]:
        """Measurements of x, (B, *shape), as they are shown: one draw for each stream of `rng`."""
        told: dict[str, Tensor] = {}
        y = x
        for member in self.members:
            if isinstance(member, Law):
                told |= member.drawn(y, rng)
            y = _at(member, told)(y)
        return self.given(noisy(y, told, rng), told, x)

    def given(self, y: Tensor, told: Cond, like: Tensor | None = None) -> dict[str, Tensor]:
        """A measurement y, (B, ...), as it is shown.

        Args:
            y: As it is, with what noise it has.
            told: What the laws tell of it.
            like: Any x that it may be of; of `shape` if not given.
        """
        like = y.new_zeros(len(y), *self.shape) if like is None else like
        return {**told, SEEN: self.operator(told).lift(y, like)}

    def operator(self, told: Cond) -> Operator:
        """A, of what the laws tell."""
        first, *others = (_at(member, told) for member in self.members)
        return reduce(lambda inner, outer: outer @ inner, others, first)

    def centre(self, like: Tensor, cond: Cond) -> Tensor:
        """What is seen, in the channels of x, of the shape of `like`; what is absent (NaN) is taken as 0, as networks do.

        Of grey the neutral colour, put right where A weighs colours otherwise.
        """
        seen = cond[SEEN].nan_to_num(0.0).to(like)
        if seen.shape[1] == like.shape[1]:
            return seen
        neutral = seen.mean(1, keepdim=True).expand_as(like)
        operator = self.operator(cond)
        return neutral + operator.pinv(seen - operator(neutral), like) if operator.linear else neutral

    def consistent(self, x0: Tensor, centre: Tensor, cond: Cond) -> Tensor:
        """x0 with what A sees of it put right, where `exact`: x0 + pinv(A(centre - x0))."""
        if not self.exact:
            return x0
        operator = self.operator(cond)
        return x0 + operator.pinv(operator(centre - x0), x0)


def noisy(y: Tensor, told: Cond, rng: Rng) -> Tensor:
    """y with the noise that is told, where one is."""
    if NOISE not in told:
        return y
    return y + expand(told[NOISE].to(y), y) * rng.to(y.device).normal(y.shape[1:], "shown noise", dtype=y.dtype)


def _at(member: Operator | Law, told: Cond) -> Operator:
    return member.operator(told) if isinstance(member, Law) else member
