"""Pictures of the data, for a model that makes pictures of others where none is given."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unnoise.domain import Dataset, Domain
from unnoise.tensor import Rng

DRAWN = 64  # for each row, of which the first of the classes that are asked for is taken


def pictures(domain: Domain, values: Mapping[str, Tensor], rng: Rng) -> Tensor:
    """One picture of the data for each stream of `rng`, (B, *shape), of the classes in `values` where one is drawn.

    Raises:
        ValueError: If the data are not there.
    """
    try:
        data = held_out(domain)
        some = data.batch(rng.integers(len(data), (DRAWN,), "picture").flatten())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"this model makes pictures of others, and those that it was trained on are not there ({error}); "
            f"give some: unnoise edit RUN FILE"
        ) from error
    rows = len(some["x"]) // DRAWN
    fits = torch.ones(rows, DRAWN)
    for name in values.keys() & some.keys():
        if domain.conds[name].classes:
            fits *= some[name].reshape(fits.shape) == values[name].reshape(-1, 1)
    return some["x"][torch.arange(rows) * DRAWN + fits.argmax(1)]


def held_out(domain: Domain) -> Dataset:
    """Pictures that were not trained on, or else those that were."""
    try:
        return domain.dataset("val")
    except ValueError:
        return domain.dataset("train")
