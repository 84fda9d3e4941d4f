"""How x is compressed."""

from unnoise.codec.base import Codec, Identity, Offset, Scaled

__all__ = ["Codec", "Identity", "Offset", "Scaled"]
