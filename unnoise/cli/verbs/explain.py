"""`unnoise explain`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Cond, Device, SamplerName, Seed, Set, Steps, Threads, app, boxed, changes, conditions


@app.command()
def explain(
    what: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN] [PICTURE]", help="a run's folder (the model in the box), and a picture")
    ] = None,
    out: Annotated[Path, typer.Option(help="the page to write")] = Path("explain.html"),
    steps: Steps = None,
    sampler: SamplerName = None,
    cond: Cond = [],  # noqa: B006
    set_: Set = [],  # noqa: B006
    device: Device = "auto",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Explain diffusion by one walk on a page. x_t, predicted noise, predicted picture, loss and signal to noise at each t."""
    from unnoise.task.explain import explain as task
    from unnoise.task.explain.page import page
    from unnoise.task.sample import Order

    given = list(what or [])
    named = bool(given) and (given[0].is_dir() or len(given) > 1)
    run, pictures = (given[0], given[1:]) if named else (boxed(), given)
    if len(pictures) > 1:
        raise ValueError(f"{len(pictures)} pictures: expected one at most")
    order = Order([seed], conditions(cond), changes(set_, steps, sampler), device, threads=threads)
    told = task(run, pictures[0] if pictures else None, order)
    command = shlex.join(["unnoise", *sys.argv[1:]])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(told, run.resolve().name if named else "the model in the box", command), "utf-8")
    print(f"the page: {out}")
