"""`unnoise import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import app


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(metavar="SRC", help="a folder, a file of weights, or owner/name on the hub")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="the run folder to write, which is new")],
    preset: Annotated[str | None, typer.Option(help="what a file's weights are: a name, or their configuration's .json")] = None,
    revision: Annotated[str | None, typer.Option(help="of the hub: a branch, a tag or a commit")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="of the hub, what is in the cache alone")] = False,
) -> None:
    """Make a run of published weights. Of diffusers, guided diffusion, EDM, DiT, or a run of ours on the hub."""
    from unnoise.task.bring import bring

    certificate, differs = bring(source, run, preset=preset, revision=revision, offline=offline)
    for sentence in differs:
        print(f"differs: {sentence}")
    print(f"{run}: {certificate.line()}")
    if certificate.note:
        print(certificate.note)
