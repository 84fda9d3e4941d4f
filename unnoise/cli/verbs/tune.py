"""`unnoise tune`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from unnoise.cli.app import Device, Run, Seed, Threads, app, conditions, integers


@app.command()
def tune(
    run: Run,
    nfe: Annotated[str, typer.Option(metavar="N,N,...", help="steps to fit walks for")] = "6,8,10,15",
    cond: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="fit under this condition; repeatable")] = [],  # noqa: B006
    scale: Annotated[float | None, typer.Option(help="of classifier-free guidance, in place of the recipe's")] = None,
    minutes: Annotated[float, typer.Option(help="about so long at most: where the network is slow less is fitted")] = 10.0,
    noises: Annotated[int | None, typer.Option(help="walks to fit to, half as many judge; as many as the minutes allow")] = None,
    rounds: Annotated[int | None, typer.Option(help="steps of the fit, for each walk; likewise")] = None,
    device: Device = "auto",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Fit the walks of few steps to a run. From then on it samples so many steps by them."""
    from unnoise.task import machine
    from unnoise.task.tune import Search
    from unnoise.task.tune import tune as task

    machine.threads(threads)
    search = Search(seed=seed)
    search = replace(search, noises=noises or search.noises, steps=rounds or search.steps)
    search = replace(search, held_out=-(-search.noises // 2))
    budget = None if noises or rounds else minutes
    task(run, integers("--nfe", nfe), cond=conditions(cond), scale=scale, search=search, minutes=budget, device=device)
