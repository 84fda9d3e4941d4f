"""E[x | x_t]: learned, or exact; and of what class x is."""

from unnoise.denoiser.base import Answer, Denoise, Denoiser, Time, times
from unnoise.denoiser.centred import Centred
from unnoise.denoiser.exact import Empirical, Gaussian, Mixture, score
from unnoise.denoiser.recalling import ESTIMATE as ESTIMATE
from unnoise.denoiser.recalling import SelfConditioned
from unnoise.denoiser.recogniser import Recognise, Recogniser

__all__ = [
    "Answer",
    "Centred",
    "Denoise",
    "Denoiser",
    "Empirical",
    "Gaussian",
    "Mixture",
    "Recognise",
    "Recogniser",
    "SelfConditioned",
    "Time",
    "score",
    "times",
]
