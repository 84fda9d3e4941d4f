"""`unnoise sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unnoise.cli.app import Device, Run, Seed, Threads, app, budgets, fractions

if TYPE_CHECKING:
    from unnoise.task.evaluate import Wish


@app.command()
def sweep(
    run: Run,
    nfe: Annotated[
        str | None,
        typer.Option(metavar="N,N,...|N..N", help="evaluations of the network for a sample, without guidance's; 5..50"),
    ] = None,
    sampler: Annotated[str, typer.Option(metavar="A,B", help="samplers by name; own is the run's")] = "own,DDIM,DPMpp2M",
    scale: Annotated[str | None, typer.Option(metavar="X,Y", help="of classifier-free guidance; 1 is none")] = None,
    ema: Annotated[
        str | None, typer.Option(metavar="X,Y,...|X..Y", help="lengths of the weights' average; first, or without --nfe alone")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="what samples are compared with; the run's own data if not given")] = None,
    n: Annotated[int, typer.Option("-n", help="samples of each setting")] = 300,
    features: Annotated[str | None, typer.Option(help="raw, pooled16, classifier, ..., or a file")] = None,
    device: Device = "auto",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Find the best way to sample a run. Samplers, budgets, lengths of the average are measured; the best becomes its default."""
    from unnoise.task import machine
    from unnoise.task.evaluate import Wish

    machine.threads(threads)
    wish = Wish(n, data, features, seed=seed, device=device)
    if ema:
        _lengths(run, fractions("--ema", ema), wish)
    if nfe or not ema:
        scales = fractions("--scale", scale) if scale else [None]
        names = ["" if name.strip() == "own" else name.strip() for name in sampler.split(",")]
        _settings(run, budgets("--nfe", nfe or "5..50"), names, scales, wish)


def _lengths(run: Path, asked: Sequence[float], wish: Wish) -> None:
    from unnoise.task.sweep.grid import said
    from unnoise.task.sweep.lengths import lengths

    found = lengths(run, asked, wish)
    print(said("on fresh seeds: as it was", found.before))
    print(said(f"                length {found.chosen:.3g}", found.after))
    print(f"{run}: {f'the weights are now an average of length {found.chosen:.3g}' if found.stored else 'the weights stay'}")


def _settings(run: Path, asked: Sequence[int], samplers: Sequence[str], scales: Sequence[float | None], wish: Wish) -> None:
    from unnoise.task.sweep import line, sweep

    found = sweep(run, asked, samplers, scales, wish)
    print("the front:")
    for point in found.front:
        print(f"{line(point)}\n     {' '.join(f'--set {change}' for change in point.setting.changes)}")
    print(f"on fresh seeds: before {line(found.before).strip()}\n                after {line(found.after).strip()}")
    print(
        f"{run}: {'the default is now ' + found.chosen.label if found.stored else 'the default stays'}; see {run / 'sweep.html'}"
    )
