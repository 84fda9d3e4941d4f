"""`unnoise tune`."""

from __future__ import annotations

from typing import Annotated

import typer

from unnoise.cli.app import Device, Run, Seed, Threads, app, conditions, integers


@app.command()
def tune(
    run: Run,
    nfe: Annotated[str, typer.Option(metavar="N,N,...", help="steps to fit walks for")] = "6,8,10,15",
    cond: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="fit under this condition; repeatable")] = [],  # noqa: B006
    scale: Annotated[float | None, typer.Option(help="of classifier-free guidance, in place of the recipe's")] = None,
    noises: Annotated[int, typer.Option(help="walks to fit to; half as many judge")] = 256,
    rounds: Annotated[int, typer.Option(help="steps of the fit, for each walk")] = 200,
    device: Device = "auto",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Fit the walks of few steps to a run; from then on it samples so many steps by them."""
    from unnoise.task import machine
    from unnoise.task.tune import Search
    from unnoise.task.tune import tune as task

    machine.threads(threads)
    search = Search(noises=noises, held_out=-(-noises // 2), steps=rounds, seed=seed)
    task(run, integers("--nfe", nfe), cond=conditions(cond), scale=scale, search=search, device=device)
