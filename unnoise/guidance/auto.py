"""Autoguidance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from unnoise.denoiser import Answer, Denoise, Recognise, Time
from unnoise.guidance.base import Borrowing, Interval, aligned, checked
from unnoise.guidance.contrast import Contrast
from unnoise.tensor import Cond


@dataclass(frozen=True)
class Auto(Contrast, Borrowing):
    """Autoguidance: away from what a worse version of the model believes, an earlier checkpoint or a smaller network.

        x0 = worse + scale (x0 - worse)

    The worse one answers for the same noised data under the same conditions, of which it takes what it knows; under another
    schedule, at the time of equal log-SNR. Its evaluations count. None at scale 1 and outside of the interval.

    Args:
        run: The folder of the worse one's run.
        scale: 1 is no guidance.
        interval: As for CFG.
        other: The worse denoiser itself, in place of `run`.

    Raises:
        ValueError: Without either, or for an interval that holds nothing.

    Reference: Karras et al., Guiding a Diffusion Model with a Bad Version of Itself, 2024, eq. 2. arXiv:2406.02507
    """

    run: str = ""
    scale: float = 1.0
    interval: Interval = None
    other: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", checked(self.interval))
        if not self.run and self.other is None:
            raise ValueError(
                "a worse version of the model is needed: run = FOLDER, of an earlier checkpoint or a smaller network"
            )

    def lend(self, other: Any) -> Self:
        if isinstance(other, Recognise) and not isinstance(other, Denoise):
            raise ValueError(
                f"{self.run} is a classifier; a model that samples is expected, or [guidance.Classifier] for this one"
            )
        return replace(self, run="", other=other)

    def pair(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> tuple[Answer, Tensor]:
        answer = denoise.answer(x_t, t, cond)
        known = {name: value for name, value in (cond or {}).items() if name in self.other.conds}
        worse: Answer = self.other.answer(*aligned(x_t, t, denoise.schedule, self.other.schedule), known)
        return answer._replace(nfe=answer.nfe + worse.nfe), worse.x0

    def move(self, x0: Tensor, other: Tensor) -> Tensor:
        return other.lerp(x0, self.scale)
