"""How to walk from noise to data."""

from unnoise.sampler.base import Moment, Path, Sampler, Walk, path, prior
from unnoise.sampler.ddim import DDIM, Ancestral, Linear
from unnoise.sampler.dpmpp import DPMpp2M
from unnoise.sampler.euler import Euler, Heun

__all__ = [
    "DDIM",
    "Ancestral",
    "DPMpp2M",
    "Euler",
    "Heun",
    "Linear",
    "Moment",
    "Path",
    "Sampler",
    "Walk",
    "path",
    "prior",
]
