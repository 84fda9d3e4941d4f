"""What a run is, from its folder alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unnoise.model import load
from unnoise.train import read_weights


def info(run: Path) -> dict[str, Any]:
    """Data, network, schedule, training, defaults of sampling, and the figures of its report where there is one.

    Raises:
        ValueError: If the folder is no run.
    """
    model = load(run)
    _, metadata = read_weights(run / "weights.safetensors")
    facts, recipe = model.domain.facts(), model.recipe
    conditions = ", ".join(f"{name} ({c.kind})" for name, c in model.denoiser.conds.items()) or "none"
    if recipe.classifies:
        use = {"recognises": conditions, "guides by": "unnoise sample RUN --classifier THIS --cond NAME=CLASS --scale 2"}
    else:
        walk = f"{model.sampler}, {model.defaults.steps} steps, {model.times}, guidance {model.guidance or 'none'}"
        use = {"conditions": conditions, "predicts": _named(recipe, "prediction"), "samples by": walk}
    found = {
        "data": f"{_named(recipe, 'domain')}, {'x'.join(map(str, model.domain.shape))}, {facts.get('splits')}",
        "network": f"{_named(recipe, 'network')}, {sum(p.numel() for p in model.denoiser.parameters()):,} parameters",
        "schedule": _named(recipe, "schedule"),
        **use,
        "trained": _trained(recipe, metadata),
        "weights": model.digest,
    }
    measured = run / "report.json"
    if measured.is_file():
        figures = json.loads(measured.read_text("utf-8"))
        found |= {key: value for key, value in figures.items() if isinstance(value, int | float) and key not in found}
    return found


def _trained(recipe: Any, metadata: dict[str, str]) -> str:
    if "imported" in metadata:
        return f"elsewhere: {metadata['imported']}"
    steps = recipe.members("train").get("Trainer", {}).get("steps", "?")
    return f"{metadata.get('step', '?')} of {steps} steps"


def _named(recipe: Any, section: str) -> str:
    return " ".join(recipe.members(section))
