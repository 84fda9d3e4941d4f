"""Changing what is believed of x given x_t: a denoiser around a denoiser."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from unnoise.condition import Conditions
from unnoise.denoiser import Answer, Denoise, Time
from unnoise.schedule import Schedule
from unnoise.tensor import Cond


class Guidance(ABC):
    """One rule. It passes on the fields of the answer that it does not change."""

    @abstractmethod
    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        """The guided answer."""

    def evaluations(self, inner: int) -> int:
        """Of the network, for one guided answer, where an unguided one takes `inner`."""
        return inner


class Guided:
    """A denoiser under one or more rules, the first of them innermost."""

    def __init__(self, denoiser: Denoise, rule: Guidance, *outer: Guidance) -> None:
        *inner, last = (rule, *outer)
        self.rule: Guidance = last
        self.denoiser: Denoise = Guided(denoiser, *inner) if inner else denoiser
        self.schedule: Schedule = denoiser.schedule
        self.conds: Conditions = denoiser.conds
        self.evaluations: int = self.rule.evaluations(self.denoiser.evaluations)

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return self.denoiser.project(x, cond)

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        return self.rule(self.denoiser, x_t, t, cond)

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0
