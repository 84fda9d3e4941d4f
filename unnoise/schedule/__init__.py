"""How much signal and how much noise at each time."""

from unnoise.schedule.base import Schedule
from unnoise.schedule.continuous import EDM, VE, VP, Cosine, Flow, Laplace, Shifted, SubVP
from unnoise.schedule.discrete import (
    Chords,
    CosineBetas,
    Discrete,
    LinearBetas,
    QuadraticBetas,
    ScaledLinearBetas,
    Sigmas,
    SigmoidBetas,
    Table,
    ZeroSNR,
)
from unnoise.schedule.learned import Learned

__all__ = [
    "EDM",
    "VE",
    "VP",
    "Chords",
    "Cosine",
    "CosineBetas",
    "Discrete",
    "Flow",
    "Laplace",
    "Learned",
    "LinearBetas",
    "QuadraticBetas",
    "ScaledLinearBetas",
    "Schedule",
    "Shifted",
    "Sigmas",
    "SigmoidBetas",
    "SubVP",
    "Table",
    "ZeroSNR",
]
