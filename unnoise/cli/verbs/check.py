"""`unnoise check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import app


@app.command()
def check(data: Annotated[Path, typer.Argument(help="a folder of pictures, or an archive of one")]) -> None:
    """Look data over before training: counts, sizes, kinds, and every file that cannot be read."""
    from unnoise.domain import scan

    found = scan(data)
    print(found)
    if not found.usable:
        raise ValueError(
            f"{data}: {len(found.broken)} of {len(found.broken) + found.pictures} pictures are broken, more than training takes"
        )
