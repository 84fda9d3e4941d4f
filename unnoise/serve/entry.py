"""Who may come in: the token, the link that lets a browser in once, and the sessions that come of it.

Secrets are compared in constant time and never kept as they are: only their SHA-256 is, so that nothing that shows the server's
memory or logs shows them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from unnoise.serve.limits import Limits
from unnoise.serve.line import Client

COOKIE = "unnoise"
SHORTEST = 16  # characters of a token that somebody chose


@dataclass
class Entry:
    """Tokens, one-use keys and sessions of one server.

    Args:
        tokens: By the name of who has them.
        limits: How long keys and sessions last.
    """

    tokens: dict[str, bytes]
    limits: Limits
    keys: dict[bytes, float] = field(default_factory=dict)  # until when
    sessions: dict[bytes, tuple[str, float]] = field(default_factory=dict)  # a session's name, until when

    def key(self) -> str:
        """A new one-use key for the link."""
        made = secrets.token_urlsafe(32)
        self.keys[_digest(made)] = time.monotonic() + self.limits.key_seconds
        return made

    def enter(self, key: str) -> str | None:
        """A new session's cookie for a key, which is used up; None for one that is not (or no longer) valid."""
        until = self.keys.pop(_digest(key), 0.0)
        if until < time.monotonic():
            return None
        made = secrets.token_urlsafe(32)
        self._tidy()
        self.sessions[_digest(made)] = f"session-{secrets.token_hex(4)}", time.monotonic() + self.limits.session_seconds
        return made

    def by_token(self, token: str) -> Client | None:
        """Who has this token. Every token is compared, each in constant time."""
        given, found = _digest(token), None
        for name, kept in self.tokens.items():
            if hmac.compare_digest(given, kept):
                found = Client(name)
        return found

    def by_cookie(self, value: str) -> Client | None:
        """Whose session this is. All sessions share the first token's name: they are of one operator."""
        who, until = self.sessions.get(_digest(value), ("", 0.0))
        return Client(next(iter(self.tokens)), who) if until >= time.monotonic() else None

    def _tidy(self) -> None:
        now = time.monotonic()
        self.keys = {key: until for key, until in self.keys.items() if until >= now}
        self.sessions = {key: one for key, one in self.sessions.items() if one[1] >= now}
        while len(self.sessions) >= self.limits.sessions:
            del self.sessions[next(iter(self.sessions))]


def tokens(file: Path | None) -> dict[str, bytes]:
    """The tokens of a file, one a line, as NAME:TOKEN or TOKEN alone; without a file one that is made up.

    A file that is not there is made, with one token.

    Raises:
        ValueError: If others than its owner may read it, or a line is no token.
    """
    if file is None:
        return {"token": _digest(secrets.token_urlsafe(32))}
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as made:
            made.write(secrets.token_urlsafe(32) + "\n")
    about = file.stat()
    if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077:
        raise ValueError(f"--token-file {file}: others may read it; chmod 600 {file}")
    found: dict[str, bytes] = {}
    for number, line in enumerate(file.read_text("utf-8").split(), 1):
        name, colon, token = line.rpartition(":")
        name = name if colon else "token" if number == 1 else f"token-{number}"
        if len(token) < SHORTEST or not name.replace("-", "").replace("_", "").isalnum() or name in found or not line.isascii():
            raise ValueError(
                f"--token-file {file}: line {number} is no token; expected NAME:TOKEN, of {SHORTEST} characters at least"
            )
        found[name] = _digest(token)
    if not found:
        raise ValueError(f"--token-file {file} holds no token")
    return found


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
