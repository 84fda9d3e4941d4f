"""Blocks that networks and codecs are built of, for signals of one, two or three dimensions."""

from unnoise.nn.attention import Attention
from unnoise.nn.conv import Double, Downsample, Halve, Upsample, conv
from unnoise.nn.embed import Classes, Embedding, Fourier, Sinusoidal, Values, beside
from unnoise.nn.norm import AdaptiveNorm, Norm
from unnoise.nn.residual import Residual

__all__ = [
    "AdaptiveNorm",
    "Attention",
    "Classes",
    "Double",
    "Downsample",
    "Embedding",
    "Fourier",
    "Halve",
    "Norm",
    "Residual",
    "Sinusoidal",
    "Upsample",
    "Values",
    "beside",
    "conv",
]
