"""How x is compressed."""

from unnoise.codec.base import Codec, Identity

__all__ = ["Codec", "Identity"]
