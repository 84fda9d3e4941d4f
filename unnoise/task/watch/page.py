"""The page of a run that trains: made anew from its folder, loads nothing from elsewhere, and reloads itself."""

from __future__ import annotations

import base64
from pathlib import Path

from unnoise.task.pages.html import render
from unnoise.task.report.figures import losses
from unnoise.task.watch import Watched, watched

SECONDS = 5  # between two looks


def page(run: Path, seconds: int = SECONDS) -> str:
    """The whole page.

    Args:
        run: Its folder.
        seconds: After which a browser asks again; a finished run's page stays as it is.

    Raises:
        ValueError: If it is no run's folder.
    """
    from markupsafe import Markup

    now = watched(run)
    rows = len(now.history.rows)
    return render(
        __package__,
        "page.html",
        now=now,
        name=run.resolve().name,
        seconds=0 if now.finished else seconds,
        loss=next(reversed(now.history.series("loss")[1]), None),
        losses=Markup(_losses(str(run.resolve()), rows, now)) if rows else "",
        strip=_picture(now.preview),
        strip_step=int(now.preview.stem.removeprefix("step-")) if now.preview else 0,
    )


def _losses(run: str, rows: int, now: Watched) -> str:
    """The charts, drawn once for each state of the log: drawing takes a second from a machine that has better to do."""
    if _drawn.get(run, (0, ""))[0] != rows:
        _drawn[run] = rows, losses(now.history)
    return _drawn[run][1]


_drawn: dict[str, tuple[int, str]] = {}


def _picture(path: Path | None) -> str:
    return base64.b64encode(path.read_bytes()).decode() if path else ""
