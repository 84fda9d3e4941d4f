"""`unnoise noise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Seed, Threads, app


@app.command()
def noise(
    source: Annotated[Path, typer.Argument(metavar="DATA|RUN", help="pictures, or a run")],
    out: Annotated[Path, typer.Option(help="the picture to write")] = Path("noise.png"),
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Draw the forward process. One picture on its way to noise, under each schedule."""
    from unnoise.task import machine
    from unnoise.task.noise import noise as task

    machine.threads(threads)
    print(f"the forward process is on {task(source, out, seed)}")
