"""`unnoise info`."""

from __future__ import annotations

from unnoise.cli.app import Run, app, show


@app.command()
def info(run: Run) -> None:
    """What a run is: data, network, training, what was measured."""
    from unnoise.task.info import info as task

    show(task(run))
