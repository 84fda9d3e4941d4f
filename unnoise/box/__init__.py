"""The model in the box: a run folder like any other, which comes with the package and is used where no run is named.

It is made by its recipe, from pictures that `examples/emoji.py` prepares, and put here by an export in half precision:

    python examples/emoji.py emojitwo_64px_captions.npz emoji.npz
    unnoise train emoji --data emoji.npz --out runs/emoji
    unnoise export runs/emoji unnoise/box/emoji --half --license cc-by-4.0 --dataset emojitwo
"""

from pathlib import Path

__all__ = ["BOX", "KNOWS", "box"]

BOX = Path(__file__).parent / "emoji"
KNOWS = "faces, hands and flags, 32 x 32, trained on EmojiTwo (CC BY 4.0)"


def box() -> Path:
    """Its folder.

    Raises:
        ValueError: If this copy of the package holds none.
    """
    if not (BOX / "weights.safetensors").is_file():
        raise ValueError(
            "no run is named, and no model comes with this copy; make one first: unnoise train digits --out runs/digits"
        )
    return BOX
