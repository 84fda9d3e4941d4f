"""`unnoise watch`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Run, app


@app.command()
def watch(
    run: Run,
    page: Annotated[bool, typer.Option("--page", help="a live page for a browser of this machine")] = False,
    port: Annotated[int, typer.Option(help="of the page; 0 takes any that is free")] = 0,
    every: Annotated[float, typer.Option(help="seconds between two looks in the terminal; 0 looks once")] = 5.0,
    out: Annotated[Path | None, typer.Option(help="write the page of this moment to a file")] = None,
) -> None:
    """Watch a run that trains. Losses by noise band, samples, rate, time left, and what its log says in words."""
    if out is not None:
        from unnoise.task.watch.page import page as write

        out.write_text(write(run, 0), "utf-8")
        return
    if page:
        from unnoise.task.watch.server import serve

        serve(run, port)
        return
    from unnoise.task.watch import watched

    while True:
        now = watched(run)
        if every and sys.stdout.isatty():
            print("\033[2J\033[H", end="")  # a clean screen
        print("\n".join(now.lines()), flush=True)
        if not every or now.finished:
            return
        time.sleep(every)
