"""Whole networks: `forward(x, level, cond) -> Tensor` of x's shape, or of twice its channels: learned variance."""

from unnoise.network.mlp import MLP
from unnoise.network.unet import UNet

__all__ = ["MLP", "UNet"]
