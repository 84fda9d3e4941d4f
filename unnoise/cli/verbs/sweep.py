"""`unnoise sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Device, Run, Seed, Threads, app, budgets


@app.command()
def sweep(
    run: Run,
    nfe: Annotated[
        str, typer.Option(metavar="N,N,...|N..N", help="evaluations of the network for a sample, without guidance's")
    ] = "5..50",
    sampler: Annotated[str, typer.Option(metavar="A,B", help="samplers by name; own is the run's")] = "own,DDIM,DPMpp2M",
    scale: Annotated[str | None, typer.Option(metavar="X,Y", help="of classifier-free guidance; 1 is none")] = None,
    data: Annotated[Path | None, typer.Option(help="what samples are compared with; the run's own data if not given")] = None,
    n: Annotated[int, typer.Option("-n", help="samples of each setting")] = 300,
    features: Annotated[str | None, typer.Option(help="raw, pooled16, classifier, ..., or a file")] = None,
    device: Device = "auto",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Measure many ways to sample a run; the cheapest of the best becomes its default. It gets a sweep.html."""
    from unnoise.task import machine
    from unnoise.task.evaluate import Wish
    from unnoise.task.sweep import line
    from unnoise.task.sweep import sweep as task

    machine.threads(threads)
    try:
        scales = [float(part) for part in scale.split(",")] if scale else [None]
    except ValueError:
        raise ValueError(f"--scale {scale}: expected numbers with commas between them") from None
    names = ["" if name.strip() == "own" else name.strip() for name in sampler.split(",")]
    found = task(run, budgets("--nfe", nfe), names, scales, Wish(n, data, features, seed=seed, device=device))
    print("the front:")
    for point in found.front:
        print(f"{line(point)}\n     {' '.join(f'--set {change}' for change in point.setting.changes)}")
    print(f"on fresh seeds: before {line(found.before).strip()}\n                after {line(found.after).strip()}")
    print(
        f"{run}: {'the default is now ' + found.chosen.label if found.stored else 'the default stays'}; see {run / 'sweep.html'}"
    )
