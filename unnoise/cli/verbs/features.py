"""`unnoise features`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Threads, app


@app.command()
def features(
    data: Annotated[Path, typer.Argument(help="a folder or archive of pictures, a .npy or .npz")],
    out: Annotated[
        Path | None, typer.Option(help="their file; the cache, where `unnoise evaluate` finds them, if not given")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="classifier or autoencoder; by whether there are classes if not given")] = None,
    size: Annotated[int | None, typer.Option(help="pixels a side that pictures are brought to")] = None,
    threads: Threads = None,
) -> None:
    """Train features of your own data, for `unnoise evaluate`. A classifier, or an autoencoder where there are no classes."""
    import sys

    from unnoise.task import machine
    from unnoise.task.features import features as task

    machine.threads(threads)
    path, told = task(data, out, kind=kind, size=size, say=lambda line: print(line, file=sys.stderr))
    print(f"{told}; they are in {path}")
