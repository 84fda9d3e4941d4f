"""Configuration is construction: `[section.Name]` of a TOML file is `unnoise.section.Name(**keys)`.

A top-level string, `prediction = "v"`, names a member without keys. A key whose type is neither text nor number may be a
string or a table too: it names a member of its own section (`[loss.Denoising]` with `weight = "snr"` or
`weight.MinSNR.gamma = 5`). Keys are checked against the constructor's signature, all of them before anything is built.
From outside the package a name is "module:Name"; a run that came from somebody else may not bring such names unasked.
"""

from .base import Recipe
from .signature import parameters
from .text import RecipeError, names

__all__ = ["Recipe", "RecipeError", "names", "parameters"]
