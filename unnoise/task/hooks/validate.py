"""Loss on data that are held out, by noise band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unnoise.domain import Dataset
from unnoise.loss import Denoising
from unnoise.model import Model
from unnoise.task.bands import by_band
from unnoise.train import State


@dataclass(frozen=True)
class Validate:
    """Loss by noise band of the averaged model, on held-out items and on as many that it trains on.

    When the two part, the model memorises.
    """

    every: int
    model: Model
    objective: Denoising
    train: Dataset
    held_out: Dataset | None

    def __call__(self, state: State) -> None:
        sets: dict[str, Dataset | None] = {"trained_on": self.train, "held_out": self.held_out}
        averaged: Any = state.averaged
        state.log(
            **{
                name: by_band(averaged, self.model.learnt, self.objective, dataset)
                for name, dataset in sets.items()
                if dataset is not None
            }
        )
