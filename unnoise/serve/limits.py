"""The one table of what the server takes: every cap stands here, in the schema that clients read, and in no other place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What one request, one client and the whole server may ask for.

    Args:
        json_bytes, depth: Of a JSON body: its size, and how deep its brackets may nest.
        picture_bytes, picture_pixels: Of an uploaded picture.
        n: Results of a request.
        steps: Times in a walk.
        factor: Of upscaling.
        frames: Of a movie between two pictures.
        text: Characters in any field of text.
        work: Numbers in a sample x results x steps: what a request may cost as a whole.
        evaluations: Of the network in one request, counted as it runs: some samplers take more than one a step.
        canvas: Pixels of a result.
        queue: Requests that wait.
        queue_client: Of one client among them.
        active: Requests that are computed at a time.
        connections: Open at a time.
        headers_seconds, body_seconds, queue_seconds, job_seconds, send_seconds: Deadlines: of the header, the body, the wait, the
            work, and of a client that does not read its answer.
        abandoned_seconds: After which a job that was watched, and is no longer, stops.
        keep_seconds, keep_bytes: Of pictures and arrays, counted from their last use; the oldest go beyond so many bytes.
        jobs: Kept to be asked about.
        key_seconds, session_seconds, sessions: Of the link that lets a browser in once, and of what it gets for it.
        drain_seconds: What running requests are given when the server is told to stop.
    """

    json_bytes: int = 2_000_000
    depth: int = 32
    picture_bytes: int = 20_000_000
    picture_pixels: int = 16_000_000
    n: int = 16
    steps: int = 1000
    factor: int = 8
    frames: int = 64
    text: int = 200
    work: int = 4_000_000_000
    evaluations: int = 20_000
    canvas: int = 1_048_576
    queue: int = 32
    queue_client: int = 16
    active: int = 256
    connections: int = 256
    headers_seconds: float = 10
    body_seconds: float = 30
    queue_seconds: float = 120
    job_seconds: float = 600
    send_seconds: float = 30
    abandoned_seconds: float = 10
    keep_seconds: float = 1800
    keep_bytes: int = 256_000_000
    jobs: int = 128
    key_seconds: float = 600
    session_seconds: float = 43_200
    sessions: int = 32
    drain_seconds: float = 20

    def table(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


LIMITS = Limits()
