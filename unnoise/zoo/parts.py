"""What an import gives: the parts of a model, of which a run folder is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from unnoise.condition import Condition
from unnoise.zoo.links import Plan

__all__ = ["Parts", "assemble"]

Sections = dict[str, dict[str, dict[str, Any]]]

ROOT = "none: imported without its data"
AREA = 16 * 64 * 64  # pixels that are computed together
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DEPTHS = {"uint8": [0, 255], "float32": [-1, 1]}


class Parts(NamedTuple):
    """A published model in our words.

    Attributes:
        sections: Of its recipe.
        facts: Of its domain.
        network: With its weights.
        origin: Where it came from, for its certificate.
        differs: One sentence for each thing in which a walk is not theirs to the last digit.
    """

    sections: Sections
    facts: dict[str, Any]
    network: nn.Module
    origin: dict[str, Any]
    differs: tuple[str, ...] = ()


def assemble(
    plan: Plan, network: nn.Module, walk: Sections, steps: int, origin: dict[str, Any], differs: Sequence[str] = ()
) -> Parts:
    """The parts of a model of pictures.

    Args:
        plan: Of the network.
        network: That network.
        walk: The sections schedule to guidance.
        steps: Times in a walk, unless told otherwise.
        origin, differs: See `Parts`.
    """
    channels, height, width = plan.shape
    batch = max(1, min(16, AREA // (height * width)))
    domain = {"Images": {"root": ROOT, "size": [height, width], "channels": channels}}
    sections = {"domain": domain, "network": plan.section(), **walk, "model": {"Defaults": {"steps": steps, "batch": batch}}}
    factor = walk.get("codec", {}).get("Scaled", {}).get("factor")
    own = {name: condition for name, condition in plan.conds.items() if condition.route != "concat"}  # else shown of the picture
    return Parts(sections, facts(plan.shape, own, factor), network, origin, tuple(differs))


def facts(shape: Sequence[int], conds: Mapping[str, Condition], latents: float | None = None) -> dict[str, Any]:
    """Of pictures whose data are not here: 8 bits of grey, colour, or colour and alpha; classes evenly drawn.

    Latents, up to that size, are numbers as they are.
    """
    kind = "other" if latents else {1: "grey", 3: "rgb", 4: "rgba"}.get(shape[0], "other")
    depth = "float32" if kind == "other" else "uint8"
    classes = {name: range(len(c.classes)) for name, c in conds.items() if c.classes}
    even = len(next(iter(classes.values()), ()))
    table = {name: [i % len(numbers) for i in range(even)] for name, numbers in classes.items()}
    described = {
        name: {"route": c.route, "shape": list(c.shape), "classes": list(c.classes), "drop": c.drop} for name, c in conds.items()
    }
    return {
        "shape": list(shape),
        "depth": depth,
        "range": [-latents, latents] if latents else DEPTHS[depth],
        "channels": kind,
        "transform": {"resize": "lanczos", "crop": "center", "background": "white"},
        "splits": {},
        "digest": "",
        "notes": [ROOT],
        "broken": 0,
        "conds": described,
        "counts": {name: [1] * len(numbers) for name, numbers in classes.items()},
        "spread": {},
        "table": table if len(classes) == len(conds) else {},
    }
