"""The model in the box: a run folder like any other, which comes with the package and is used where no run is named."""

from pathlib import Path

__all__ = ["BOX", "KNOWS"]

BOX = Path(__file__).parent
KNOWS = "faces, hands and flags, 32 x 32, trained on EmojiTwo (CC BY 4.0)"
