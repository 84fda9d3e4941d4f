"""Faces, hands and flags of EmojiTwo, as the recipe `emoji` is trained on them: one .npz in, one out.

    python examples/emoji.py emojitwo_64px_captions.npz emoji.npz
    unnoise train emoji --data emoji.npz --out runs/emoji

What goes in is EmojiTwo's pictures with what its list says of each: `rgba` (N, 64, 64, 4) in bytes, and as strings (N,)
`caption`, `category` and `keywords`, with commas between. What comes out is pictures and their `label`: flag, hand, or of faces
the mood, "face" where none is told.

EmojiTwo (https://emojitwo.github.io) is by its contributors, licensed CC BY 4.0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

MOODS = {
    "surprised": "surprised",
    "mad": "angry",
    "angry": "angry",
    "sad": "sad",
    "happy": "happy",
    "silly": "silly",
    "sick": "sick",
}
HANDS = ("hand", "fist", "thumbs", "backhand", "index pointing", "sign of the horns", "vulcan", "crossed fingers")
NO_HANDS = ("handbag", "handball", "handshake", "middle finger", "holding hands", "raising hand", "gloved", "tipping", "writing")
FLAGS = ("flag ", "soviet union")


def label(caption: str, category: str, keywords: str) -> str:
    """flag, hand, or the mood of a face; "" for all else."""
    if category == "Flags":
        return "flag" if caption.startswith(FLAGS) else ""
    if category == "Smileys & Emotion" and "face" in caption.split():
        return mood(caption, keywords)
    if any(word in caption for word in HANDS) and not any(word in caption for word in (*NO_HANDS, "face", "left-handed")):
        return "hand"
    return ""


def mood(caption: str, keywords: str) -> str:
    """Of a face: love for hearts and kisses, else the first mood that stands among its keywords, else "face"."""
    if "kiss" in caption or "heart" in caption:
        return "love"
    told = {word.strip() for word in keywords.split(",")}
    return next((name for word, name in MOODS.items() if word in told), "face")


def chosen(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The pictures that have a label, and it; nothing twice."""
    labels = [label(*map(str, told)) for told in zip(*(arrays[k] for k in ("caption", "category", "keywords")), strict=True)]
    rows = {
        picture.tobytes(): i for i, picture in reversed(list(enumerate(arrays["rgba"]))) if labels[i]
    }  # the first of equal ones
    kept = sorted(rows.values())
    return {"pictures": arrays["rgba"][kept], "label": np.array([labels[i] for i in kept])}


def main(source: Path, out: Path) -> None:
    with np.load(source, allow_pickle=False) as arrays:
        made = chosen(dict(arrays))
    np.savez_compressed(out, **made)
    names, counts = np.unique(made["label"], return_counts=True)
    print(f"{out}: " + ", ".join(f"{count} of {name}" for name, count in zip(names, counts, strict=True)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
