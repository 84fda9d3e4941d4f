"""A model: data, denoiser and the ways to use them, in one thing that is saved, loaded and sampled."""

from unnoise.model.base import FILES as FILES
from unnoise.model.base import Model
from unnoise.model.defaults import Defaults
from unnoise.model.read import load

__all__ = ["Defaults", "Model", "load"]
