"""Changing what is believed of x given x_t: a denoiser around a denoiser.

A rule is a frozen dataclass of its options; its answer for a sample is a function of that sample alone, whatever its batch.
`scale`, where a rule has one, is the exponent of the condition in the law that it aims at,

    p(x_t) p(cond | x_t)^scale

so that 1 is what the denoiser answers by itself when it is told the condition: no guidance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from unnoise.condition import Conditions
from unnoise.denoiser import Answer, Denoise, Time, times
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, expand

Interval = tuple[float, float] | None


class Guidance(ABC):
    """One rule. It passes on the fields of the answer that it does not change, and adds to `nfe` what it asks for itself."""

    @property
    def conds(self) -> Conditions:
        """The conditions that it takes itself."""
        return {}

    @abstractmethod
    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        """The guided answer."""

    def begin(self) -> Self:
        """The rule as one walk has it. Only what remembers the walk's earlier answers is another thing there."""
        return self


class Borrowing(Guidance):
    """A rule that asks another network: `other`, or that of the run folder `run`."""

    run: str
    other: Any

    def lend(self, other: Any) -> Self:
        """The rule with that network.

        Raises:
            ValueError: If it is not of the kind that the rule asks.
        """
        raise NotImplementedError


class Guided:
    """A denoiser under one or more rules, the first of them innermost."""

    def __init__(self, denoiser: Denoise, rule: Guidance, *outer: Guidance) -> None:
        *inner, last = (rule, *outer)
        self.rule: Guidance = last
        self.denoiser: Denoise = Guided(denoiser, *inner) if inner else denoiser
        self.schedule: Schedule = denoiser.schedule
        self.conds: Conditions = merged(self.denoiser.conds, self.rule.conds)

    def begin(self) -> Guided:
        """The same for one walk: what its rules, or the denoiser, remember is that walk's alone."""
        begin = getattr(self.denoiser, "begin", None)
        return Guided(begin() if begin else self.denoiser, self.rule.begin())

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return self.denoiser.project(x, cond)

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        return self.rule(self.denoiser, x_t, t, cond)

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


def merged(conds: Conditions, more: Conditions) -> Conditions:
    """The conditions of a denoiser and of a rule around it.

    Raises:
        ValueError: If both know one of a name, but not of the same classes.
    """
    for name in conds.keys() & more.keys():
        if (conds[name].classes, conds[name].words) != (more[name].classes, more[name].words):
            raise ValueError(f"the guiding network has other classes of {name!r} than the model: expected the same, in order")
    return {**more, **conds}


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient at x of a function with one value a sample, (B,): of x's shape, also where gradients are off."""
    with torch.inference_mode(False), torch.enable_grad():
        at = x.detach().clone().requires_grad_()
        return torch.autograd.grad(function(at).sum(), at)[0]


def within(interval: Interval, schedule: Schedule, t: Time, batch: int) -> Tensor:
    """Which samples stand at a noise level sigma / alpha above the interval's first and at most its second number, (B,).

    Reference: Kynkaanniemi et al., Applying Guidance in a Limited Interval, 2024, eq. 3. arXiv:2404.07724
    """
    if interval is None:
        return torch.ones(batch, dtype=torch.bool)
    alpha, sigma = schedule(times(t, batch))
    low, high = interval
    level = sigma / alpha
    return (level > low) & (level <= high)


def aligned(x_t: Tensor, t: Time, here: Schedule, there: Schedule) -> tuple[Tensor, Time]:
    """The same noised data in the terms of another schedule: at its time of equal log-SNR, and of the size they have there."""
    at = times(t, len(x_t))
    if here is there or torch.equal(torch.stack(here(at)), torch.stack(there(at))):
        return x_t, t
    other = there.time(here.log_snr(at))
    size, wanted = (torch.stack(schedule(place)).norm(dim=0) for schedule, place in ((here, at), (there, other)))
    return expand((wanted / size).to(x_t.device, x_t.dtype), x_t) * x_t, other


def checked(interval: Interval) -> Interval:
    """An interval as a rule keeps it.

    Raises:
        ValueError: If it holds nothing.
    """
    if interval is None:
        return None
    low, high = interval
    if not 0 <= low < high:
        raise ValueError(f"interval = [{low:g}, {high:g}]; expected two noise levels sigma / alpha, 0 <= first < second")
    return low, high
