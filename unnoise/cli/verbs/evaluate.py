"""`unnoise evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Cond, Device, Precision, SamplerName, Scale, Seed, Set, Steps, Threads, app, changes, conditions


@app.command()
def evaluate(
    source: Annotated[
        Path,
        typer.Argument(metavar="RUN|FOLDER|ARRAY", help="a run; or samples: a folder or archive of pictures, a .npy, a .npz"),
    ],
    data: Annotated[Path | None, typer.Option(help="what they are compared with; a run's own data if not given")] = None,
    n: Annotated[int, typer.Option("-n", help="samples; of a folder or array at most")] = 1000,
    features: Annotated[str | None, typer.Option(help="raw, pooled16, classifier, ..., or a file")] = None,
    metrics: Annotated[str | None, typer.Option(metavar="A,B", help="only these numbers; likelihood is taken if named")] = None,
    steps: Steps = None,
    sampler: SamplerName = None,
    cond: Cond = [],  # noqa: B006
    scale: Scale = None,
    json: Annotated[Path | None, typer.Option(help="write everything here")] = None,
    set_: Set = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Measure how good samples are. Quality, coverage, copies, speed, with intervals and in words."""
    import sys

    from unnoise.task import machine, ranks
    from unnoise.task.evaluate import Wish
    from unnoise.task.evaluate import evaluate as task
    from unnoise.task.evaluate.table import table
    from unnoise.task.sample import scaled

    machine.threads(threads)
    changed = changes(set_, steps, sampler)
    changed += [f"guidance.{scaled(source, changed)}.scale={scale}"] * (scale is not None)
    asked = metrics.split(",") if metrics else None
    wish = Wish(n, data, features, asked, conditions(cond), changed, seed, device, precision)
    found = task(source, wish, lambda line: print(line, file=sys.stderr))
    if ranks.rank():
        return
    if json:
        found.write(json)
    print(table(found))
