"""`unnoise recipes`."""

from __future__ import annotations

from unnoise.cli.app import app, show


@app.command()
def recipes() -> None:
    """List the recipes that come with the package."""
    from unnoise.recipe import names

    show(names())
