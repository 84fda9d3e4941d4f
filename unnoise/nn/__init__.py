"""Blocks that networks and codecs are built of, for signals of one, two or three dimensions."""

from unnoise.nn.attention import Attention, AttentionPool, attend, check_heads
from unnoise.nn.conv import Double, Downsample, Fir, Halve, Upsample, conv, cropped, doubling, padded, resampler
from unnoise.nn.embed import Classes, Embedding, Fourier, Sinusoidal, Values, beside
from unnoise.nn.levels import Chain, Levels
from unnoise.nn.norm import AdaptiveNorm, Norm
from unnoise.nn.patch import assembled, patches, positions
from unnoise.nn.residual import Residual

__all__ = [
    "AdaptiveNorm",
    "Attention",
    "AttentionPool",
    "Chain",
    "Classes",
    "Double",
    "Downsample",
    "Embedding",
    "Fir",
    "Fourier",
    "Halve",
    "Levels",
    "Norm",
    "Residual",
    "Sinusoidal",
    "Upsample",
    "Values",
    "assembled",
    "attend",
    "beside",
    "check_heads",
    "conv",
    "cropped",
    "doubling",
    "padded",
    "patches",
    "positions",
    "resampler",
]
