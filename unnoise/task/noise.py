"""The forward process, seen: one picture on its way to noise under each schedule."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from unnoise import schedule as schedules
from unnoise.domain import Domain, Images
from unnoise.model import load
from unnoise.schedule import Schedule
from unnoise.tensor import Rng, expand

COLUMNS = 11


def noise(source: Path, out: Path, seed: int = 0) -> Path:
    """Writes a picture with a row for each schedule and a column for each t; for a run, its own schedule alone.

    Args:
        source: A run folder, or pictures.
        out: The picture to write.
        seed: Chooses the picture and its noise.

    Raises:
        ValueError: If the source is neither.
    """
    if (source / "recipe.toml").is_file():
        model = load(source)
        domain, rows = model.domain, [model.denoiser.schedule]
    else:
        domain, rows = Images(str(source)), every_schedule()
    data = domain.dataset("train")
    x = data.batch(Rng(seed).integers(len(data), (), "picture"))["x"]
    draw(domain, x, rows, seed).savefig(out, dpi=110, metadata={"Software": None})
    return out


def every_schedule() -> list[Schedule]:
    """One of each schedule that needs no arguments."""
    found = []
    for name in schedules.__all__:
        try:
            found.append(getattr(schedules, name)())
        except TypeError:  # abstract, or made from a table of one's own
            continue
    return found


def states(x: Tensor, schedule: Schedule, seed: int, columns: int = COLUMNS) -> tuple[Tensor, Tensor]:
    """x_t of one sample x, (1, ...), at evenly spaced t, brought to the range of x: (columns, ...), and the t, (columns,)."""
    t = torch.linspace(0, 1, columns, dtype=torch.float64)
    with torch.no_grad():  # a learned schedule has parameters
        alpha, sigma = (expand(c, x.expand(columns, *x.shape[1:])).to(x.dtype) for c in schedule(t))
    eps = Rng(seed).normal(x.shape[1:], "noise")
    return (alpha * x + sigma * eps) / (alpha**2 + sigma**2).sqrt(), t


def draw(domain: Domain, x: Tensor, rows: list[Schedule], seed: int):  # type: ignore[no-untyped-def]
    """A matplotlib figure of `states` for each schedule, with its log signal-to-noise ratio beneath each picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(COLUMNS * 1.05 + 1.6, len(rows) * 1.4 + 0.6), layout="constrained")
    for axes, schedule in zip(figure.subplots(len(rows), COLUMNS, squeeze=False), rows, strict=True):
        x_t, times = states(x, schedule, seed)
        for axis, one, t, log_snr in zip(axes, x_t, times, schedule.log_snr(times).tolist(), strict=True):
            axis.imshow(domain.grid(one[None].clamp(-1, 1)), cmap="gray", vmin=0, vmax=255)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_xlabel(f"{log_snr:.1f}", fontsize=7)
            if schedule is rows[0]:
                axis.set_title(f"t = {float(t):.1f}", fontsize=8)
        axes[0].set_ylabel(type(schedule).__name__, rotation=0, ha="right", va="center", fontsize=9)
    figure.supxlabel("beneath each picture: its log signal-to-noise ratio", fontsize=8)
    return figure
