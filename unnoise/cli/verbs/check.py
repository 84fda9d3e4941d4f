"""`unnoise check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Device, Set, Threads, app


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="a folder of pictures, or an archive of one")],
    recipe: Annotated[str, typer.Option(help="the recipe that is fitted to them")] = "pictures",
    set_: Set = [],  # noqa: B006
    forecast: Annotated[bool, typer.Option(help="measure a few steps: time, memory and disk")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="print all of it as JSON")] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Look data over before training. What is there, broken or twice; a recipe that suits it, and what that costs here."""
    from unnoise.task import machine
    from unnoise.task.check import check as task

    machine.threads(threads)
    found = task(data, recipe, set_, device, forecast)
    print(json.dumps(found.json(), indent=1) if as_json else found)
    if not found.report.usable:
        broken = len(found.report.broken)
        raise ValueError(f"{data}: {broken} of {broken + found.report.pictures} pictures are broken, more than training takes")
