"""A claim and its arms."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unnoise.recipe import Recipe

HERE = Path(__file__).parent
UPDATES = 800  # of every training, unless an arm's cost another number of them
QUIET = [f"train.Trainer.{key}=0" for key in ("preview_every", "validate_every", "health_every")]
# DDPM's chain and prediction on the digits, sampled by ancestral steps: what most of the claims speak of.
BASE = ["schedule=CosineBetas", "prediction=eps", "sampler=Ancestral", "times=Uniform", "model.Defaults.steps=50"]
LOWER = ("frechet", "bound", "seconds")  # less of these is better; the first and the last are compared by their ratio
RATIOS = ("frechet", "seconds")


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Args:
        train: Changes of the recipe, as `--set` takes them.
        walk: Changes of how it is sampled.
        recipe: That is changed; one of another family than the digits' diffusion is left as it is but for `train`.
        updates: Of training: those that cost as much as the others' where an update costs another time.
    """

    train: Sequence[str] = ()
    walk: Sequence[str] = ()
    recipe: str = "digits"
    updates: int = UPDATES

    def built(self, seed: int) -> Recipe:
        """The recipe of its training."""
        base = BASE if self.recipe == "digits" else []
        length = [f"train.Trainer.{key}={self.updates}" for key in ("steps", "save_every")]
        return Recipe.read(self.recipe, [*base, *self.train, *QUIET, *length, f"train.Trainer.seed={seed}"])

    def key(self, seed: int) -> str:
        """Of its training: arms of one key share their run."""
        return _digest(self.built(seed).flat())

    def setting(self) -> str:
        """Of all that a row was measured with but the seed."""
        return _digest({"train": self.built(0).flat(), "walk": list(self.walk)})


@dataclass(frozen=True)
class Said:
    """One comparison that the claim makes: the first arm is better than the second in this number."""

    better: str
    worse: str
    number: str = "frechet"


@dataclass(frozen=True)
class Claim:
    """What is said, by whom, and the arms that decide it.

    Args:
        says: In a sentence.
        source: Paper and place.
        arms: By name.
        said: The comparisons.
        numbers: That are measured of every arm.
        remark: Of what was found.
    """

    says: str
    source: str
    arms: Mapping[str, Arm]
    said: Sequence[Said]
    numbers: Sequence[str] = field(default=("frechet", "accuracy", "recall"))
    remark: str = ""


def claims() -> dict[str, Claim]:
    """All of them by name."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(HERE)]) if not module.name.startswith("_"))
    return {name: importlib.import_module(f"benchmarks.claims.{name}").CLAIM for name in names}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
