"""Diffusion models from a folder of data: train, sample, edit, measure and serve.

>>> import unnoise
>>> model = unnoise.load("runs/digits")                                 # doctest: +SKIP
>>> x = model.sample(16, steps=20, cond={"label": 3}, seed=0)           # doctest: +SKIP
>>> model.images(4, cond={"label": "7"})[0].show()                      # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Model", "Recipe", "load"]

if TYPE_CHECKING:
    from unnoise.model import Model, load
    from unnoise.recipe import Recipe

HOMES = {"Model": "unnoise.model", "load": "unnoise.model", "Recipe": "unnoise.recipe"}


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: `import unnoise` alone loads nothing heavy."""
    import importlib

    if name not in HOMES:
        raise AttributeError(f"module 'unnoise' has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)
