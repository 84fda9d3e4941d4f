"""What a network is told of augmentation, against EDM."""

from __future__ import annotations

import math

import torch

from unnoise.augment.geometric import Geometric, Moves

from .harness import Case, Result


def edm_augment(case: Case) -> dict[str, Result]:
    """The draws in the order of their pipe: a value, then the number that decides whether it happens."""
    draws = {name.removeprefix("draw"): value.squeeze() for name, value in case.inputs.items() if name != "images"}
    p = case.params["p"]

    def kept(value: str, decides: str, p: float = p) -> torch.Tensor:
        return torch.where(draws[decides] < p, draws[value].double(), torch.nan)

    one = [torch.where(move == 1, 1.0, torch.nan) for move in (kept("0", "1", p=1.0), kept("2", "3"))]
    turn, along = ((2 * kept(value, decides) - 1) * math.pi for value, decides in (("6", "7"), ("10", "11")))
    stretch, shift = kept("8", "9"), torch.where(draws["13"] < p, draws["12"], torch.nan)
    along = torch.where(stretch.isnan(), torch.nan, along.nan_to_num(0.0))  # theirs turns the direction as rarely again
    moves = Moves(*one, kept("4", "5"), turn, along, stretch, *shift)
    member = Geometric(p)
    return {"augmented": member.moved(case.inputs["images"], moves), "augment_labels": moves.told().nan_to_num(0.0)}
