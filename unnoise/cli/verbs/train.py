"""`unnoise train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Device, Set, Threads, app


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="a recipe's name (see `unnoise recipes`) or file")],
    data: Annotated[
        Path | None,
        typer.Option(help="a folder of pictures, a .tar.gz or .zip of one, shards such as 'part-{00..99}.tar', or hf:OWNER/NAME"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the run folder; runs/RECIPE if not given")] = None,
    set_: Set = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved recipe and a forecast, train nothing")] = False,
    init: Annotated[Path | None, typer.Option(help="a run whose weights to begin with")] = None,
    report: Annotated[bool, typer.Option(help="write report.html at the end")] = True,
    device: Device = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16")] = None,
    threads: Threads = None,
    seed: Annotated[int | None, typer.Option(help="of everything random")] = None,
) -> None:
    """Train a model, or go on where its run folder stands. The same command resumes."""
    from unnoise.task import machine
    from unnoise.task import train as task

    extra = [f"train.Trainer.seed={seed}"] * (seed is not None)
    extra += [f"train.Trainer.precision={precision}"] * (precision is not None)
    machine.threads(threads)
    chosen = task.read(recipe, data, [*set_, *extra])
    if dry_run:
        from unnoise.task.check import forecast, surveyed

        print(chosen.resolved().dump())
        for told in (surveyed(chosen), "\n".join(forecast(chosen, device, out or Path("runs")).lines())):
            if told:
                print(told)
        return
    task.train(chosen, out or Path("runs") / Path(recipe).stem, device=device, init=init, report=report)
