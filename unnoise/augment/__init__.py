"""How pictures are varied while a network learns, and what it is told of it. In a recipe `[augment.Geometric]`."""

from unnoise.augment.geometric import AUGMENT, Augment, Geometric

__all__ = ["AUGMENT", "Augment", "Geometric"]
