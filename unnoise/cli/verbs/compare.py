"""`unnoise compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Device, Threads, app


@app.command()
def compare(
    sources: Annotated[
        list[Path], typer.Argument(metavar="A B ...", help="evaluations (.json), runs, or samples: folders, archives, .npy, .npz")
    ],
    data: Annotated[Path | None, typer.Option(help="what they are compared with; a run's own data if not given")] = None,
    n: Annotated[int, typer.Option("-n", help="samples of what is not evaluated yet")] = 1000,
    features: Annotated[str | None, typer.Option(help="of what is not evaluated yet: raw, classifier, ..., or a file")] = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Place evaluations side by side; runs and samples are evaluated first. Unlike protocols are refused."""
    import sys

    from unnoise.task import machine
    from unnoise.task.evaluate import Wish, gathered
    from unnoise.task.evaluate import compare as task

    machine.threads(threads)
    wish = Wish(n, data, features, device=device)
    print(task(gathered(sources, wish, lambda line: print(line, file=sys.stderr))).table())
