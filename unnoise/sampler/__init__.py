"""How to walk from noise to data."""

from unnoise.sampler.adams import PNDM
from unnoise.sampler.adaptive import Adaptive
from unnoise.sampler.ancestral import Ancestral, noise_moments
from unnoise.sampler.base import Moment, Noise, Path, Sampler, Walk, encode, path, prior
from unnoise.sampler.brownian import Brownian
from unnoise.sampler.course import Course
from unnoise.sampler.ddim import DDIM, Linear, Renoise
from unnoise.sampler.deis import DEIS, LMS
from unnoise.sampler.dps import DPS
from unnoise.sampler.euler import EulerMaruyama, ReverseDiffusion
from unnoise.sampler.fitted import Fitted
from unnoise.sampler.flow import FlowAdams
from unnoise.sampler.gibbs import SplitGibbs
from unnoise.sampler.heun import Euler, Heun
from unnoise.sampler.known import ILVR, RePaint, Replacement, ReplacementPC
from unnoise.sampler.langevin import AnnealedLangevin, Langevin, PredictorCorrector
from unnoise.sampler.midpoint import DPM2, DPMpp2S, DPMppSDE
from unnoise.sampler.multistep import DPMpp2M, DPMpp3M, DPMSolver
from unnoise.sampler.particles import Twisted
from unnoise.sampler.restart import Restart
from unnoise.sampler.sdedit import SDEdit
from unnoise.sampler.singlestep import Singlestep
from unnoise.sampler.spectral import DDNM, DDRM
from unnoise.sampler.unipc import UniPC

__all__ = [
    "DDIM",
    "DDNM",
    "DDRM",
    "DEIS",
    "DPM2",
    "DPS",
    "ILVR",
    "LMS",
    "PNDM",
    "Adaptive",
    "Ancestral",
    "AnnealedLangevin",
    "Brownian",
    "Course",
    "DPMSolver",
    "DPMpp2M",
    "DPMpp2S",
    "DPMpp3M",
    "DPMppSDE",
    "Euler",
    "EulerMaruyama",
    "Fitted",
    "FlowAdams",
    "Heun",
    "Langevin",
    "Linear",
    "Moment",
    "Noise",
    "Path",
    "PredictorCorrector",
    "RePaint",
    "Renoise",
    "Replacement",
    "ReplacementPC",
    "Restart",
    "ReverseDiffusion",
    "SDEdit",
    "Sampler",
    "Singlestep",
    "SplitGibbs",
    "Twisted",
    "UniPC",
    "Walk",
    "encode",
    "noise_moments",
    "path",
    "prior",
]
