"""`unnoise serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.app import Device, app, boxed


@app.command()
def serve(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN...]", help="folders that `unnoise train` wrote; the model in the box if not given"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="the address to listen on; others than this machine's need --token-file")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes one that is free")] = 8765,
    token_file: Annotated[Path | None, typer.Option(help="NAME:TOKEN lines, mode 600; made if it is not there")] = None,
    allow_host: Annotated[list[str], typer.Option(metavar="NAME[:PORT]", help="another Host to answer to; repeatable")] = [],  # noqa: B006
    batch: Annotated[int | None, typer.Option(help="the execution batch; each run's own if not given")] = None,
    memory: Annotated[float | None, typer.Option(metavar="GB", help="of weights at a time; all models if not given")] = None,
    log_level: Annotated[str, typer.Option(help="info, warning or error")] = "info",
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the networks; all cores but one if not given")] = None,
) -> None:
    """A page to generate and edit in, and an HTTP interface. Prints a link that lets one browser in."""
    try:
        from unnoise.serve.server import Order, serve
    except ImportError as error:
        raise ValueError(f"serving needs {error.name}; install it with: pip install 'unnoise[serve]'") from error
    if log_level not in ("info", "warning", "error"):
        raise ValueError(f"--log-level {log_level}: expected info, warning or error")
    if memory is not None and not memory > 0:
        raise ValueError(f"--memory {memory:g}: expected more than 0 GB")
    limit = None if memory is None else int(memory * 1e9)
    serve(Order(runs or [boxed()], host, port, token_file, allow_host, device, threads, batch, limit), log_level)
