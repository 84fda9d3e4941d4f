"""`unnoise selfcheck`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Threads, app


@app.command()
def selfcheck(
    quick: Annotated[bool, typer.Option("--quick", help="fewer schedules and steps")] = False,
    json: Annotated[Path | None, typer.Option(help="write every measured number to this file")] = None,
    threads: Threads = None,
) -> None:
    """Repeat the proof of the mathematics on closed forms. Exit code 1 if anything does not hold."""
    from json import dumps

    from unnoise.task import machine
    from unnoise.task.selfcheck import selfcheck as task

    machine.threads(threads)
    report = task(quick, progress=lambda name: print(f"{name} ...", file=sys.stderr, flush=True))
    print(*report.lines(), sep="\n")
    if json:
        json.write_text(dumps(report.facts(), indent=1), "utf-8")
    if report.faults:
        raise typer.Exit(1)
