"""The way to the data of the model in the box: which pictures are taken, what they are called, and that its recipe reads them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from unnoise.domain import Images
from unnoise.recipe import Recipe

ROWS = [  # caption, category, keywords, label
    ("flag norway", "Flags", "", "flag"),
    ("chequered flag", "Flags", "", ""),
    ("grinning face", "Smileys & Emotion", "happy, smiley", "happy"),
    ("grinning face", "Smileys & Emotion", "happy, smiley", "happy"),
    ("weary face", "Smileys & Emotion", "sad, smiley, tired", "sad"),
    ("unamused face", "Smileys & Emotion", "mad, smiley, sad", "angry"),
    ("smiling face with heart-eyes", "Smileys & Emotion", "happy", "love"),
    ("lying face", "Smileys & Emotion", "", "face"),
    ("horse face", "Animals & Nature", "animal", ""),
    ("waving hand", "People & Body", "hands", "hand"),
    ("left hand pointing down", "", "", "hand"),
    ("handbag", "Objects", "", ""),
    ("person raising hand", "People & Body", "people", ""),
    ("rocket", "Travel & Places", "", ""),
]


TIMES = 4  # so that classes have several pictures


@pytest.fixture(scope="module")
def emoji() -> ModuleType:
    spec = importlib.util.spec_from_file_location("emoji", Path(__file__).parents[1] / "examples" / "emoji.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    captions, categories, keywords, _ = zip(*ROWS * TIMES, strict=True)
    pictures = np.random.default_rng(0).integers(0, 256, (len(ROWS) * TIMES, 64, 64, 4), dtype=np.uint8)
    pictures[3] = pictures[2]
    told = {"caption": captions, "category": categories, "keywords": keywords}
    np.savez(tmp_path / "all.npz", rgba=pictures, **{name: np.array(column) for name, column in told.items()})
    return tmp_path / "all.npz"


def test_labels_are_told_from_captions_and_keywords(emoji: ModuleType) -> None:
    for caption, category, keywords, label in ROWS:
        assert emoji.label(caption, category, keywords) == label, caption


def test_what_is_chosen_is_what_the_recipe_reads(emoji: ModuleType, source: Path, tmp_path: Path) -> None:
    emoji.main(source, tmp_path / "emoji.npz")
    wanted = [label for k, (*_, label) in enumerate(ROWS * TIMES) if label and k != 3]  # the twin is left out
    with np.load(tmp_path / "emoji.npz") as made:
        assert made["label"].tolist() == wanted and len(made["pictures"]) == len(wanted)
    keys = Recipe.read("emoji").members("domain")["Images"]
    domain = Images(**{**keys, "root": str(tmp_path / "emoji.npz"), "conditions": ("label",)})
    assert domain.shape == (3, 32, 32) and domain.conds["label"].classes == tuple(sorted(set(wanted)))
