"""`unnoise report`."""

from __future__ import annotations

from unnoise.cli.app import Device, Precision, Run, Seed, Threads, app


@app.command()
def report(run: Run, device: Device = "auto", precision: Precision = "fp32", threads: Threads = None, seed: Seed = 0) -> None:
    """Write report.html and report.json of a run."""
    from unnoise.task import machine
    from unnoise.task.report import report as task

    machine.threads(threads)
    task(run, seed=seed, precision=machine.precision(precision), device=machine.device(device))
    print(f"the report: {run / 'report.html'}")
