"""The page of one run for the browsers of this machine: one address, one answer, nothing written."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from unnoise.task.watch import watched
from unnoise.task.watch.page import page

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def serve(run: Path, port: int = 0, say: Callable[[str], object] = print) -> None:
    """Answers at 127.0.0.1 until it is interrupted; the address holds a secret, for other users of the machine are no readers.

    Args:
        run: The run's folder.
        port: Where; 0 for any that is free.
        say: Told the address.

    Raises:
        ValueError: If it is no run's folder.
    """
    watched(run)
    with make(run, port) as server:
        say(f"watch it at {server.address}  (Ctrl-C ends this, not the training)")
        server.serve_forever()


class Server(ThreadingHTTPServer):
    """The server of one page."""

    daemon_threads = True

    def __init__(self, run: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.run, self.secret = run, secrets.token_urlsafe(16)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.secret}"


def make(run: Path, port: int = 0) -> Server:
    """The server, listening and not yet answering."""
    return Server(run, port)


class Answer(BaseHTTPRequestHandler):
    """Answers the one address, asked by its own name: another name would be a page from outside that was led here."""

    server: Server

    def do_GET(self) -> None:
        host = self.headers.get("Host", "")
        named = host in (f"127.0.0.1:{self.server.server_port}", f"localhost:{self.server.server_port}")
        if not named or not secrets.compare_digest(self.path.encode(), f"/{self.server.secret}".encode()):
            self.send_error(404)
            return
        try:
            text = page(self.server.run).encode()
        except (OSError, ValueError):
            self.send_error(503, "the run cannot be read just now")
            return
        self.send_response(200)
        for name, value in (HEADERS | {"Content-Length": str(len(text))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing of requests."""
