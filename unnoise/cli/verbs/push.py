"""`unnoise push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Run, app


@app.command()
def push(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="on the Hugging Face hub")],
    private: Annotated[bool, typer.Option("--private", help="a new repository is for nobody else")] = False,
    token_file: Annotated[Path | None, typer.Option(help="a file that holds the token; else that of `hf auth login`")] = None,
    license: Annotated[
        str | None, typer.Option(metavar="NAME", help="of the weights, for the model card: apache-2.0, ...")
    ] = None,
    dataset: Annotated[list[str], typer.Option(metavar="NAME", help="of the model card, as the hub names it; repeatable")] = [],  # noqa: B006
) -> None:
    """Upload a run or an exported folder to the hub. Weights, recipe, model card, certificate; never the training's state."""
    from unnoise.task.push import push as task

    print(task(run, name, private=private, token_file=token_file, license=license, datasets=dataset))
