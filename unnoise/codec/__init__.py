"""How x is compressed."""

from unnoise.codec.base import Codec, Identity, Scaled

__all__ = ["Codec", "Identity", "Scaled"]
