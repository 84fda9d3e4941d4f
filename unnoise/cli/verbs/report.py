"""`unnoise report`."""

from __future__ import annotations

from typing import Annotated

import typer

from unnoise.cli.app import Device, Precision, Run, Seed, Threads, app, budgets


@app.command()
def report(
    run: Run,
    n: Annotated[int, typer.Option("-n", help="samples that are scored")] = 1000,
    nfe: Annotated[
        str, typer.Option(metavar="N,N,...|N..N", help="evaluations at which samplers are compared, unless a sweep did; 0: none")
    ] = "5,10,20",
    sampler: Annotated[str, typer.Option(metavar="A,B", help="which; own is the run's")] = "own,DDIM,DPMpp2M",
    likelihood: Annotated[int, typer.Option(metavar="ITEMS", help="held-out items whose likelihood is measured; 0: none")] = 64,
    device: Device = "auto",
    precision: Precision = "fp32",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Write report.html and report.json of a run."""
    import sys

    from unnoise.task import machine
    from unnoise.task.report import More
    from unnoise.task.report import report as task

    machine.threads(threads)
    names = ["" if name.strip() == "own" else name.strip() for name in sampler.split(",")]
    more = More([] if nfe == "0" else budgets("--nfe", nfe), names, likelihood)
    on, how = machine.device(device), machine.precision(precision)
    task(run, samples=n, seed=seed, more=more, precision=how, device=on, say=lambda line: print(line, file=sys.stderr))
    print(f"the report: {run / 'report.html'}")
