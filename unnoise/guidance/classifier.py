"""Classifier guidance, in both forms of ADM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from unnoise.condition import Conditions
from unnoise.denoiser import Answer, Denoise, Recognise, Time, times
from unnoise.guidance.base import Borrowing, Interval, aligned, checked, gradient, within
from unnoise.tensor import Cond, expand


@dataclass(frozen=True)
class Classifier(Borrowing):
    """Classifier guidance: up the slope of a classifier that was trained on noised data.

        x0 = x0 + weight sigma^2 / alpha grad log p(label | x_t)

    which aims at p(x_t) p(label | x_t)^scale. The weight is what the denoiser leaves of the scale: scale - 1 where it is told
    the label, so that 1 is no guidance; scale where it takes none or is not told (`alone`), so that 1 is Bayes' rule, 0 is off.
    A sample whose label is null is left as it is. A classifier of another schedule is asked at the time of equal log-SNR.
    One evaluation of the classifier and its gradient an answer, which nfe does not count; none where the weight is 0.

    Args:
        run: The folder of the classifier's run (`unnoise train classifier-mnist`).
        scale: The exponent of p(label | x_t).
        alone: Do not tell the denoiser the label: all that is known of it comes from the classifier.
        ancestral: Leave x0 as it is and hand the weighted gradient to `sampler.Ancestral`, which adds it to the mean of its step,
            times the variance: ADM's first form. Without it, the second, for every sampler.
        interval: As for CFG.
        other: The classifier itself, in place of `run`.

    Raises:
        ValueError: Without either, for an interval that holds nothing, or if the label is not given.

    Reference: Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, algorithms 1 and 2. arXiv:2105.05233
    """

    run: str = ""
    scale: float = 1.0
    alone: bool = False
    ancestral: bool = False
    interval: Interval = None
    other: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", checked(self.interval))
        if not self.run and self.other is None:
            raise ValueError("a classifier of noised data is needed: run = FOLDER (`unnoise train classifier-...` makes one)")

    @property
    def conds(self) -> Conditions:
        return {} if self.other is None else self.other.conds

    def lend(self, other: Any) -> Self:
        if not isinstance(other, Recognise):
            raise ValueError(f"{self.run} is no classifier of noised data; `unnoise train classifier-...` makes one")
        return replace(self, run="", other=other)

    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        ((name, condition),) = self.conds.items()
        if name not in (cond := dict(cond or {})):
            raise ValueError(f"classifier guidance must be told the {name}; there are {', '.join(condition.classes[:12])}")
        label, told = cond[name], name in denoise.conds and not self.alone
        answer = denoise.answer(x_t, t, cond if told else {key: value for key, value in cond.items() if key != name})
        guided = within(self.interval, denoise.schedule, t, len(x_t)).to(x_t.device) & (label < len(condition.classes)).to(
            x_t.device
        )
        weight = self.scale - told
        if not weight or not guided.any():
            return answer
        slope = weight * self.slope(denoise, x_t, t, label.clamp(max=len(condition.classes) - 1))
        slope = torch.where(expand(guided, slope), slope, 0)
        if self.ancestral:
            return answer._replace(score=slope if answer.score is None else answer.score + slope)
        alpha, sigma = denoise.schedule(times(t, len(x_t)))
        size = torch.where(alpha > 0, sigma**2 / alpha, 0)  # pure noise tells nothing of its class
        return answer._replace(x0=answer.x0 + expand(size.to(x_t.device, x_t.dtype), x_t) * slope)

    def slope(self, denoise: Denoise, x_t: Tensor, t: Time, label: Tensor) -> Tensor:
        """grad log p(label | x_t), of x_t's shape."""

        def log_class(x: Tensor) -> Tensor:
            found = self.other.log_class(*aligned(x, t, denoise.schedule, self.other.schedule))
            return found.gather(1, label.to(found.device)[:, None])[:, 0]

        return gradient(log_class, x_t)
