"""E[x | x_t]: learned, or exact."""

from unnoise.denoiser.base import Answer, Denoise, Denoiser, Time, times
from unnoise.denoiser.exact import Empirical, Gaussian, Mixture, score

__all__ = ["Answer", "Denoise", "Denoiser", "Empirical", "Gaussian", "Mixture", "Time", "score", "times"]
