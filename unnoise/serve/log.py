"""What is kept of requests: one line of JSON each, without what was asked for and without secrets, and counts for Prometheus."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

NAME = "unnoise.serve"


class Lines(logging.Formatter):
    """Records as JSON: line breaks and controls in a message are escaped, so that none can pretend to be another."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.getMessage()}
        told |= {
            name: getattr(record, name)
            for name in ("request", "job", "method", "route", "status", "ms", "client")
            if hasattr(record, name)
        }
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=True)


class Logbook:
    """Of one server.

    Args:
        depth: The number of jobs that wait, and that are at work, when asked.
    """

    def __init__(self) -> None:
        self.log = logging.getLogger(NAME)
        self.registry = CollectorRegistry()
        self.requests = Counter("unnoise_requests", "Requests by route and status", ["route", "status"], registry=self.registry)
        self.seconds = Histogram("unnoise_request_seconds", "Time to answer", ["route"], registry=self.registry)
        self.jobs = Counter("unnoise_jobs", "Jobs by task and end", ["task", "end"], registry=self.registry)

    def visit(self, id_: str, scope: Any, status: int, seconds: float) -> None:
        """One request. Its route is the path as declared, never what a client wrote."""
        route = getattr(scope.get("route"), "path", None) or ("/healthz" if scope["path"] == "/healthz" else "unmatched")
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        client = scope["state"].get("client") if "state" in scope else None
        about = {
            "request": id_,
            "method": scope["method"] if scope["method"].isalpha() else "?",
            "route": route,
            "status": status,
        }
        self.log.info("request", extra=about | {"ms": round(1000 * seconds, 1), "client": client.name if client else None})

    def ended(self, job: Any) -> None:
        """A job's end."""
        self.jobs.labels(job.task, job.status).inc()

    def fault(self, id_: str) -> None:
        """What went wrong, with its trace, for the operator alone."""
        self.log.exception("request failed", extra={"request": id_})

    def watch(self, engine: Any, line: Any, store: Any) -> None:
        """Gauges of the parts of a running server, read when asked for."""
        gauges = {
            "unnoise_waiting": ("Jobs in the line", lambda: len(line.waiting)),
            "unnoise_waiting_most": ("Most jobs that ever waited", lambda: line.most),
            "unnoise_working": ("Jobs at work", lambda: len(line.working)),
            "unnoise_batches": ("Network batches so far", lambda: engine.counts.batches),
            "unnoise_rows": ("Rows of them that were asked for", lambda: engine.counts.rows),
            "unnoise_places": ("All rows of them", lambda: engine.counts.places),
            "unnoise_kept_bytes": ("Of pictures and arrays", lambda: store.bytes),
        }
        for name, (text, value) in gauges.items():
            Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """For Prometheus."""
        return generate_latest(self.registry)


def set_up(level: str) -> None:
    """Lines go to stderr; uvicorn's own are of warnings alone, since each request has one here."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name in (NAME, "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper() if name == NAME else "WARNING")
    logging.getLogger("uvicorn.access").disabled = True
    logging.Formatter.converter = time.gmtime
