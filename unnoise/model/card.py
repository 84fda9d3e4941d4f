"""A model's card in short, as a notebook shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unnoise import show

if TYPE_CHECKING:
    from unnoise.model.base import Model

CLASSES = 12  # names of classes that are listed


def card(model: Model) -> str:
    """What it makes, of what parts it is, and how it is sampled; its schedule's curves below."""
    recipe, denoiser, facts = model.recipe, model.denoiser, model.domain.facts()

    def of(section: str) -> str:
        return ", ".join(recipe.members(section))

    told = []
    for name, condition in denoiser.conds.items():
        names = condition.classes or condition.words
        classes = ", ".join(names[:CLASSES]) + (" ..." if len(names) > CLASSES else "")
        told.append(f"{name} ({classes})" if classes else name)
    rows = {
        "makes": f"{of('domain')}, {' x '.join(map(str, model.domain.shape))}",
        "data": ", ".join(f"{count:,} {split}" for split, count in facts.get("splits", {}).items()),
        "is told": "; ".join(told) or "nothing",
        "network": f"{of('network')}, {sum(p.numel() for p in denoiser.parameters()):,} parameters",
        "predicts": of("prediction"),
        "is sampled by": f"{model.sampler}, {model.times}, {model.defaults.steps} steps",
        "guidance": ", ".join(map(repr, model.guidance)) or "none",
        "weights": model.digest[:16] or "not saved yet",
    }
    if recipe.classifies:
        rows = {name: value for name, value in rows.items() if name not in ("predicts", "is sampled by", "guidance")}
    return show.table("unnoise model", rows) + denoiser.schedule._repr_html_()
