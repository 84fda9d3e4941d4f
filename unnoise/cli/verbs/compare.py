"""`unnoise compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Device, Threads, app, budgets


@app.command()
def compare(
    sources: Annotated[
        list[Path], typer.Argument(metavar="A B ...", help="evaluations (.json), runs, or samples: folders, archives, .npy, .npz")
    ],
    data: Annotated[Path | None, typer.Option(help="what they are compared with; a run's own data if not given")] = None,
    n: Annotated[int, typer.Option("-n", help="samples of what is not evaluated yet")] = 1000,
    features: Annotated[str | None, typer.Option(help="of what is not evaluated yet: raw, classifier, ..., or a file")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="write a page, and the same as JSON beside it")] = None,
    nfe: Annotated[
        str, typer.Option(metavar="N,N,...|N..N", help="on the page: evaluations at which samplers are compared; 0: none")
    ] = "5,10,20",
    sampler: Annotated[str, typer.Option(metavar="A,B", help="on the page: samplers by name; own is a run's")] = "own,DDIM",
    likelihood: Annotated[
        int, typer.Option(metavar="ITEMS", help="on the page: held-out items whose likelihood is measured")
    ] = 0,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Place evaluations side by side. Runs and samples are evaluated first. Unlike protocols are refused."""
    import sys

    from unnoise.task import machine
    from unnoise.task.evaluate import Wish, gathered
    from unnoise.task.evaluate import compare as task

    machine.threads(threads)
    wish = Wish(n, data, features, device=device)
    if out:
        from unnoise.task.trilemma import Asked, trilemma

        names = ["" if name.strip() == "own" else name.strip() for name in sampler.split(",")]
        asked = Asked(wish, [] if nfe == "0" else budgets("--nfe", nfe), names, likelihoods=likelihood)
        print(trilemma(sources, asked, out, lambda line: print(line, file=sys.stderr)).table())
        print(f"the page: {out}")
        return
    print(task(gathered(sources, wish, lambda line: print(line, file=sys.stderr))).table())
