"""How numbers were measured, in a line: the line is a part of the number."""

from __future__ import annotations

from typing import Any

from unnoise.domain import Domain
from unnoise.metric import LEVEL
from unnoise.metric.features import Features
from unnoise.task import machine
from unnoise.task.evaluate.arrays import Arrays
from unnoise.task.evaluate.board import FAMILIES, Yard
from unnoise.task.evaluate.real import Split
from unnoise.task.evaluate.sources import Source

Data = Domain | Arrays


class Protocol:
    """How numbers were measured, in a line each: what is not said there made no difference."""

    def __init__(self, data: Data, parts: Split, source: Source, yard: Yard) -> None:
        self.source, self.parts, self.yard = source, parts, yard
        digest, how = str(data.facts().get("digest", "")), dict(data.facts().get("transform") or {})
        form = "x".join(map(str, data.shape))
        depth = str(data.facts().get("depth", "float32"))
        self.base = ", ".join(
            part
            for part in (
                f"n {source.n}",
                f"{form} {depth}",
                " ".join(f"{how[key]}" for key in ("resize", "crop") if key in how),
                _lossy(source.about["kind"]),
                f"data {digest[:12]} ({len(parts.rows)} of the training set)",
            )
            if part
        )
        self.data = {"digest": digest, "shape": list(data.shape), "depth": depth, "transform": how}

    def line(self, name: str) -> str:
        """Of a number."""
        of = next(of for of, names in FAMILIES.values() if name in names)
        by: Features | None = {
            "features": self.yard.features,
            "classes": self.yard.judge,
            "scores": self.yard.scorer,
        }.get(of)
        space = of if by is None else f"{by.name} {by.digest}".strip()
        more = f", {self.yard.count} beside as many" if name in FAMILIES["fidelity"][1] else ""
        more += ", classes as asked for" * (self.source.chosen and name == "class_distance")
        return f"{space}, {self.base}{more}"

    def about(self) -> dict[str, Any]:
        """What was compared with what."""
        by = self.yard.features
        counts = {
            "samples": self.source.n,
            "reference": len(self.parts.rows),
            "real": len(self.parts.x),
            "compared": self.yard.count,
        }
        told = {"protocol": self.base, "features": {"name": by.name, "digest": by.digest}, "data": self.data, **counts}
        return told | {"level": LEVEL, "source": self.source.about, "machine": machine.describe()}


def _lossy(kind: str) -> str:
    """What of a file's format changes its pixels."""
    return "+".join(part for part in kind.split("+") if part in ("jpeg", "webp", "gif"))
