"""`unnoise sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unnoise.cli.app import (
    Cond,
    Device,
    Precision,
    RunOrBox,
    SamplerName,
    Scale,
    Seed,
    Set,
    Steps,
    Threads,
    app,
    boxed,
    changes,
    conditions,
)

if TYPE_CHECKING:
    from unnoise.task.sample import Order


@app.command()
def sample(
    run: RunOrBox = None,
    n: Annotated[int | None, typer.Option("-n", help="how many: seeds SEED, SEED + 1, ...")] = None,
    seeds: Annotated[str | None, typer.Option(help="the seeds themselves: 0-63 or 3,5,9")] = None,
    steps: Steps = None,
    sampler: SamplerName = None,
    cond: Cond = [],  # noqa: B006
    scale: Scale = None,
    classifier: Annotated[Path | None, typer.Option(help="a run of a noise-aware classifier that guides")] = None,
    out: Annotated[Path | None, typer.Option(help="where the files go; RUN/samples, or box/samples, if not given")] = None,
    shards: Annotated[
        Path | None, typer.Option(metavar="DIR", help="tar shards in place of files, for very many; resumed if called again")
    ] = None,
    shard_size: Annotated[int, typer.Option(help="samples in a shard")] = 1000,
    set_: Set = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
    engine: Annotated[str, typer.Option(help="eager, or onnx: ONNX Runtime, quicker on CPUs")] = "eager",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Generate: one file a seed, and grid.png. Without --cond, conditions are drawn as the data have them.

    With --shards and torchrun, millions of them over many devices.
    """
    from unnoise.cli.progress import bar
    from unnoise.task import cascade
    from unnoise.task import sample as task

    if n is not None and (n < 1 or seeds):
        raise ValueError(f"-n {n}: expected at least 1, and not together with --seeds")
    if classifier is not None and scale is None:
        raise ValueError("--classifier needs --scale: 1 is the class as the model knows it, 2 or more is surer of it")
    if shards is not None and (seeds or out):
        raise ValueError("--shards DIR: expected with -n and --seed, and without --seeds and --out")
    row = range(seed, seed + (n or 16))
    listed = task.seeds(seeds) if seeds else row if shards else list(row)
    out = out or (Path("box/samples") if run is None else None)
    run = boxed() if run is None else run
    changed = changes(set_, steps, sampler)
    changed += [f"guidance.Classifier.run={str(classifier)!r}"] * (classifier is not None)
    changed += [f"guidance.{task.scaled(run, changed)}.scale={scale}"] * (scale is not None)
    order = task.Order(listed, conditions(cond), changed, device, precision, threads, engine)
    if shards is not None:
        _into_shards(run, order, shards, shard_size)
        return
    folder = out or (run if run.is_dir() else run.parent) / "samples"
    make = cascade.sample if cascade.is_cascade(run) else task.sample
    with bar("sampling", "steps") as progress:
        paths = make(run, order, folder, progress)
    if paths:
        print(f"{len(paths)} files in {folder}; all of them on {paths[-1]}")


def _into_shards(run: Path, order: Order, folder: Path, size: int) -> None:
    from unnoise.cli.progress import bar
    from unnoise.task import cascade, ranks
    from unnoise.task import shards as task

    if cascade.is_cascade(run):
        raise ValueError(f"{run} is a cascade: --shards is for single runs")
    with bar("sampling", "samples") as progress:
        done = task.shards(run, order, folder, size, progress)
    who = f"rank {ranks.rank()} of {ranks.world()}: " if ranks.world() > 1 else ""
    print(f"{who}{done.made} shards made in {folder}, {done.there} were there")
