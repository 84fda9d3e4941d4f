"""The runs that a model's guidance asks, kept in its own folder: saved, it is whole, and can be moved."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from unnoise.recipe import Recipe

if TYPE_CHECKING:
    from unnoise.model.base import Model

FOLDER = "guides"


def carried(model: Model, folder: Path) -> Recipe:
    """The model's recipe as it stands in `folder`, where the runs that it names are written: each by its rule, `guides/NAME`.

    One that lies there already, because the model was loaded from that folder, stays as it is.
    """
    recipe = model.recipe.resolved()
    rules = copy.deepcopy(recipe.members("guidance"))
    for name, keys in rules.items():
        if not keys.get("run"):
            continue
        path = Path(keys["run"]).resolve()
        if not path.is_relative_to(folder.resolve()):
            path = folder.resolve() / FOLDER / name
            model.lender(keys["run"]).save(path)
        keys["run"] = path.relative_to(folder.resolve()).as_posix()
    return Recipe({**recipe.sections, **({"guidance": rules} if rules else {})}, recipe.foreign)
