"""`unnoise reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import app


@app.command()
def reproduce(
    file: Annotated[Path, typer.Argument(help="a picture that `unnoise sample` wrote")],
    run: Annotated[Path | None, typer.Option(help="its run; found by its weights if not given")] = None,
    out: Annotated[Path | None, typer.Option(help="the folder to write to")] = None,
) -> None:
    """Make a picture again from its own metadata. The bytes are compared."""
    from unnoise.task.sample import reproduce as task

    made, same = task(file, run, out)
    print(f"{made} is {'the same, byte for byte' if same else 'NOT the same'}")
    if not same:
        raise typer.Exit(1)
