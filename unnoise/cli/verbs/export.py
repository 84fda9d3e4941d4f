"""`unnoise export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Run, Set, app, conditions


@app.command()
def export(
    run: Run,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="the folder to write, which is new")],
    form: Annotated[str, typer.Option("--format", help="unnoise, diffusers, onnx or torch-export")] = "unnoise",
    cond: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="diffusers: fix a condition for good; repeatable")] = [],  # noqa: B006
    set_: Set = [],  # noqa: B006
    license: Annotated[
        str | None, typer.Option(metavar="NAME", help="of the weights, for the model card: apache-2.0, ...")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="weights in half precision: half the size")] = False,
    dataset: Annotated[list[str], typer.Option(metavar="NAME", help="of the model card, as the hub names it; repeatable")] = [],  # noqa: B006
) -> None:
    """Write a model for others. Weights, model card, and a certificate that the answers are the same."""
    from unnoise.task.export import export as task

    certificate = task(run, out, form, cond=conditions(cond), overrides=set_, license=license, datasets=dataset, half=half)
    print(f"{out}: {certificate.line()}")
