"""What others may see of a run while it trains: a strip of samples, and the weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch

from unnoise.model import FILES, Model
from unnoise.train import State, write_weights

STRIP = 10  # samples in the strip, of seeds 0, 1, ...


@dataclass(frozen=True)
class Preview:
    """A strip of samples of fixed seeds, `previews/step-N.png`: above by the raw weights, below by the averaged ones."""

    every: int
    model: Model

    @property
    def evaluations(self) -> int:
        """Of the network for one sample, in one call."""
        return 2 * evaluations(self.model, STRIP)

    def __call__(self, state: State) -> None:
        rows = []
        for denoiser in (state.model, state.averaged):
            rows.append(with_denoiser(self.model, denoiser).sample(STRIP))
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


def with_denoiser(model: Model, denoiser: object) -> Model:
    """The model with weights of this moment."""
    view = copy.copy(model)
    view.denoiser = denoiser  # type: ignore[assignment]
    return view


def evaluations(model: Model, samples: int) -> int:
    """Of the network for one sample, to make so many: batches are always full."""
    batch = model.defaults.batch
    return -(-samples // batch) * batch * model.defaults.steps
