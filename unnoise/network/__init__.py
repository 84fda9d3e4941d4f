"""Whole networks: `forward(x, level, cond) -> Tensor` of x's shape, or of twice its channels: learned variance.

A `Classifier` answers log-probabilities of classes instead, and takes no conditions; an `Encoder` as many numbers as it is
asked for.
"""

from unnoise.network.classifier import Classifier
from unnoise.network.decoder import Decoder, Encoder
from unnoise.network.dit import DiT
from unnoise.network.mlp import MLP
from unnoise.network.ncsnpp import NCSNpp
from unnoise.network.unet import UNet

__all__ = ["MLP", "Classifier", "Decoder", "DiT", "Encoder", "NCSNpp", "UNet"]
