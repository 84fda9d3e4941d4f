"""`unnoise likelihood`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Device, Run, Seed, Threads, app, show


@app.command()
def likelihood(
    run: Run,
    data: Annotated[
        str, typer.Argument(help="train, val or test of the run's own data, or a folder or archive of pictures")
    ] = "val",
    items: Annotated[int, typer.Option("-n", help="how many, at most")] = 1000,
    method: Annotated[str, typer.Option(help="bound, flow or both")] = "both",
    steps: Annotated[int | None, typer.Option(help="of the bound's walk; all if not given")] = None,
    draws: Annotated[int, typer.Option(help="of these for each item, drawn evenly spread; 0 is all")] = 100,
    variance: Annotated[str | None, typer.Option(help="of the walk: small, large or learned")] = None,
    levels: Annotated[int | None, typer.Option(help="stored values of a place: 2^bits; the data's own if not given")] = None,
    given: Annotated[bool, typer.Option("--given", help="given each item's conditions, in place of none")] = False,
    trace: Annotated[str, typer.Option(help="of the flow: hutchinson, or exact for few dimensions")] = "hutchinson",
    probes: Annotated[int, typer.Option(help="directions of hutchinson's")] = 1,
    tolerance: Annotated[float, typer.Option(help="of the flow's solver")] = 1e-4,
    json_: Annotated[Path | None, typer.Option("--json", help="write everything here")] = None,
    csv: Annotated[Path | None, typer.Option(help="write one row an item here, the least probable first")] = None,
    device: Device = "auto",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Measure how probable data are. Variational bound and exact likelihood of the flow, in bits a dimension, item by item."""
    from unnoise.task import likelihood as task
    from unnoise.task import machine

    machine.threads(threads)
    wish = task.Wish(items, method, steps, draws, variance, levels, given, trace, probes, tolerance, seed)  # type: ignore[arg-type]
    told = task.likelihood(run, data, wish, device)
    task.write(told, json_, csv)
    show(task.lines(told))
