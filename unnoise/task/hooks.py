"""What happens beside training, every so many steps: held-out loss, a strip of samples, the weights for others to use."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unnoise.domain import Dataset
from unnoise.loss import Denoising
from unnoise.model import FILES, Model
from unnoise.task.bands import by_band
from unnoise.train import State, write_weights

STRIP = 10  # samples in the strip, of seeds 0, 1, ...


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


@dataclass(frozen=True)
class Preview:
    """A strip of samples of fixed seeds, `previews/step-N.png`: above by the raw weights, below by the averaged ones."""

    every: int
    model: Model

    def __call__(self, state: State) -> None:
        rows = []
        for denoiser in (state.model, state.averaged):
            view = copy.copy(self.model)
            view.denoiser = denoiser  # type: ignore[assignment]
            rows.append(view.sample(STRIP))
        path = state.folder / "previews" / f"step-{state.step:07d}.png"
        path.parent.mkdir(exist_ok=True)
        self.model.domain.grid(torch.cat(rows), columns=STRIP).save(path)


@dataclass(frozen=True)
class Publish:
    """The averaged weights as `weights.safetensors`, so that the run can be sampled while it trains."""

    every: int

    def __call__(self, state: State) -> None:
        weights = {name: value.detach() for name, value in state.averaged.state_dict().items()}
        write_weights(Path(state.folder) / FILES[2], weights, {"format": "unnoise", "step": str(state.step)})
