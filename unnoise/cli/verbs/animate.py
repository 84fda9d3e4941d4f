"""`unnoise animate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import (
    Cond,
    Delay,
    Device,
    Format,
    Frames,
    Loop,
    Precision,
    Run,
    Scale,
    Set,
    Steps,
    Threads,
    app,
    changes,
    conditions,
)


@app.command()
def animate(
    run: Run,
    seeds: Annotated[str, typer.Option(help="from noise to noise: 3,5,9; one seed for all other films")] = "0",
    through: Annotated[
        list[str], typer.Option(metavar="NAME=A,B,...", help="values that a condition takes in turn; repeatable")
    ] = [],  # noqa: B006
    zoom: Annotated[
        float | None, typer.Option(metavar="FACTOR", help="into the picture without end: 1.05 from frame to frame")
    ] = None,
    strength: Annotated[float, typer.Option(help="of a zoom: how much of each frame is painted anew")] = 0.35,
    walk: Annotated[bool, typer.Option("--walk", help="the denoising of all seeds, step by step")] = False,
    frames: Frames = 32,
    loop: Loop = False,
    format_: Format = "gif",
    delay: Delay = 80,
    cond: Cond = [],  # noqa: B006
    scale: Scale = None,
    steps: Steps = None,
    out: Annotated[Path | None, typer.Option(help="where the files go; RUN/animated if not given")] = None,
    set_: Set = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
    threads: Threads = None,
) -> None:
    """Films of seeds, conditions, zooms and walks out of the noise. And sheet.png with some of the frames."""
    from unnoise.task import animate as task
    from unnoise.task.sample import Order, scaled
    from unnoise.task.sample import seeds as listed

    changed = changes(set_, steps)
    changed += [f"guidance.{scaled(run, changed)}.scale={scale}"] * (scale is not None)
    values = {
        name: value if isinstance(value, list) else [value] for name, value in (conditions(through, "--through") or {}).items()
    }
    wish = task.Animation(frames, values, zoom, strength, walk, loop, task.Film(format_, delay))
    order = Order(listed(seeds), conditions(cond), changed, device, precision, threads)
    made = task.animate(run, wish, order, out or run / "animated")
    pace = "" if made.unevenness is None else f"; its largest step {made.unevenness:.2f} of the mean"
    print(f"{made.path}: {made.frames} frames{pace}")
