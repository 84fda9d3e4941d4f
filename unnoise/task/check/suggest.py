"""A recipe that suits a set of pictures and a machine: size, width, batch, steps, and a schedule for the size."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unnoise.domain import Report

LARGEST = {"cpu": 32}  # pixels a side that a machine without an accelerator trains in hours
ACCELERATED = 128
WORKED = 64  # pixels a side for which the cosine schedule is right as it is
ATTENDED = 16  # pixels a side from which down attention is worth its cost
SMALLEST = 8  # pixels a side of the deepest level
FEW = 2000  # pictures, below which a network remembers rather than learns
EPOCHS = 100
LEAST, MOST = 4000, 100_000  # steps


@dataclass(frozen=True)
class Suggestion:
    """Changes of a recipe, the command that trains with them, and why."""

    command: str
    changes: list[str]
    reasons: list[str]


def largest(device: str) -> int:
    """The size that is suggested at most, in pixels a side."""
    return LARGEST.get(device, ACCELERATED)


def suggest(report: Report, data: Path, device: str, recipe: str = "pictures", own: Sequence[str] = ()) -> Suggestion:
    """How to train on what a survey found.

    The size is that of the survey. A schedule made for pictures of 64 pixels leaves larger ones too clear, since noise
    averages out over their pixels: the log-SNR is moved by 2 log(64 / size), for straight paths `Flow(shift = size / 64)`.
    The widest share of the network lies at 16 pixels and below, where attention is.

    Args:
        report: Of the data.
        data: Where they are, for the command.
        device: "cpu", "cuda" or "mps".
        recipe: Which is changed.
        own: Changes that are kept as they are, and take the place of those suggested.

    Reference: Hoogeboom et al., Simple Diffusion: End-to-End Diffusion for High Resolution Images, 2023, eq. 4 and section 3.2,
    arXiv:2301.11093; Esser et al., Scaling Rectified Flow Transformers for High-Resolution Image Synthesis, 2024, eq. 23,
    arXiv:2403.03206
    """
    form = report.form or {}
    height, width = form["height"], form["width"]
    side, items, fast = max(height, width), report.splits["train"], device != "cpu"
    changes, reasons = [f"domain.Images.size={height if height == width else [height, width]}"], []
    reasons.append(f"size {width} x {height}: {_why_size(report, side, largest(device))}")
    channels = (64 if items < FEW else 128) if fast else (32 if items < FEW else 48)
    multipliers = _multipliers(side)
    sides = [math.ceil(side / 2**level) for level in range(len(multipliers))]
    attended = [level for level, size in enumerate(sides) if size <= ATTENDED][-2:] or [len(sides) - 1]
    changes += [f"network.UNet.width={channels}", f"network.UNet.multipliers={multipliers}", f"network.UNet.attention={attended}"]
    reasons.append(f"width {channels}: {items:,} pictures to learn from, {'an accelerator' if fast else 'no accelerator'}")
    if items < FEW:
        changes.append("network.UNet.dropout=0.1")
        reasons.append(f"dropout: fewer than {FEW:,} pictures are soon known by heart; watch the alarm while it trains")
    batch = min(128 if fast else 32, 2 ** int(math.log2(max(items, 1))))
    steps = min(max(EPOCHS * items // batch // 1000 * 1000, LEAST), MOST)
    changes += [f"train.Trainer.batch={batch}", f"train.Trainer.steps={steps}"]
    reasons.append(f"batch {batch}, {steps:,} steps: each picture is seen {steps * batch / max(items, 1):,.0f} times")
    if side > WORKED:
        shift = 2 * math.log(WORKED / side)
        changes += ["schedule=Shifted", "schedule.Shifted.schedule=Cosine", f"schedule.Shifted.shift={shift:.3f}"]
        reasons.append(f"log-SNR moved by {shift:.2f}: noise averages out over the pixels of larger pictures")
    changes = [*(change for change in changes if _key(change) not in map(_key, own)), *own]
    parts = ["unnoise", "train", recipe, "--data", str(data), "--out", f"runs/{_stem(data)}"]
    parts += [word for change in changes for word in ("--set", change)]
    return Suggestion(shlex.join(parts), changes, reasons)


def _why_size(report: Report, side: int, most: int) -> str:
    if len(report.sizes) == 1 and next(iter(report.sizes)).split(" ")[0] == str(side):
        return "as they are"
    return f"what this machine trains in reasonable time, at most {most}" if side >= most else "what most of them have"


def _multipliers(side: int) -> list[int]:
    """Of the width: one for each level down to about eight pixels, the widest below 32."""
    levels = max(1 + math.ceil(math.log2(max(side / (2 * SMALLEST - 1), 1))), 2)
    return [1 if side / 2**level > 32 else 2 if level else 1 for level in range(levels)]


def _key(change: str) -> str:
    return change.partition("=")[0].strip()


def _stem(data: Path) -> str:
    return data.resolve().name.split(".")[0] or "pictures"
