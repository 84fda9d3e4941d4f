"""What every request passes before anything else sees it: deny by default, in one place, before a body is read.

Host, then Origin, then the token, then path and method, then type and size, then the body: whole, in time, and no larger than
its route takes. An answer leaves with the headers that bind a browser, an id, a line in the log and a count.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Collection
from http.cookies import CookieError, SimpleCookie
from typing import Any

from unnoise.serve.entry import COOKIE, Entry
from unnoise.serve.jobs import Refused, error
from unnoise.serve.limits import Limits
from unnoise.serve.line import Client
from unnoise.serve.log import Logbook
from unnoise.serve.store import KINDS

Scope = Any
Receive = Callable[[], Any]
Send = Callable[[Any], Any]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
BODIES: dict[str, tuple[str, ...]] = {
    "none": (),
    "json": ("application/json",),
    "picture": tuple(KINDS),
    "form": ("multipart/form-data",),
}
SAFE = ("GET",)
OPEN = ("/healthz", "/enter")  # without a token: one says ok, the other takes a key


class Guard:
    """An ASGI application around the one that works.

    Args:
        app: The application.
        entry: Who may come in.
        limits: Sizes and times.
        hosts: What a Host header may say, in lower case.
        log: Where each request leaves its line.
        body: The kind of body that a method and path take; None where there is no such path, "method" where it has others.
    """

    def __init__(
        self, app: Any, entry: Entry, limits: Limits, hosts: Collection[str], log: Logbook, body: Callable[[Scope], str | None]
    ) -> None:
        self.app, self.entry, self.limits, self.log, self.body = app, entry, limits, log, body
        self.hosts = frozenset(hosts)
        self.origins = frozenset(f"{scheme}://{host}" for host in hosts for scheme in ("http", "https"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        visit = Visit(self, scope, send)
        try:
            scope["state"] = {"client": None, "request": visit.id}
            kind = self.check(scope)
            content = await self.read(scope, receive, kind)
            visit.whole = time.perf_counter()
            await self.app(scope, replay(content, receive), visit.send)
        except Refused as refused:
            await visit.refuse(refused)
        except Hung:
            visit.status = 499
        except Exception:
            self.log.fault(visit.id)
            await visit.refuse(Refused(500, "failed; the server's log says why"))
        finally:
            self.log.visit(visit.id, scope, visit.status, visit.spent())

    def check(self, scope: Scope) -> str:
        """The kind of body that follows.

        Raises:
            Refused: If anything is not as it must be.
        """
        headers = Headers(scope)
        if scope["path"] != "/healthz" and headers.one("host").lower() not in self.hosts:
            raise Refused(403, "this server does not answer to that Host; see --allow-host")
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins:
            raise Refused(403, "requests of other origins are not answered")
        if scope["path"] not in OPEN:
            client = self.client(scope, headers, origin)
            if client is None:
                raise Refused(401, "a token is needed: open the link that `unnoise serve` printed, or send Authorization: Bearer")
            scope["state"]["client"] = client
        kind = self.body(scope)
        if kind is None:
            raise Refused(404, "there is nothing here")
        if kind == "method":
            raise Refused(405, "this path does not take that method")
        self.check_body(headers, kind)
        return kind

    def client(self, scope: Scope, headers: Headers, origin: str | None) -> Client | None:
        """Whose request it is: of a token, or of a session's cookie, which alone may not change anything from elsewhere."""
        scheme, _, token = (headers.get("authorization") or "").partition(" ")
        if scheme:
            known = self.entry.by_token(token.strip()) if scheme.lower() == "bearer" else None
            who = headers.get("x-client") or (scope.get("client") or ("",))[0]
            return known and Client(known.name, who if re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", who) else "")
        try:
            morsel = SimpleCookie(headers.get("cookie") or "").get(COOKIE)
        except CookieError:
            return None
        if morsel is None or (origin is None and scope["method"] not in SAFE):
            return None
        return self.entry.by_cookie(morsel.value)

    def check_body(self, headers: Headers, kind: str) -> None:
        """Type and announced size, before a byte of it is read."""
        length = headers.get("content-length")
        if kind == "none":
            if length not in (None, "0") or headers.get("transfer-encoding"):
                raise Refused(413, "this takes no body")
            return
        type_ = headers.one("content-type").partition(";")[0].strip().lower()
        if type_ not in BODIES[kind]:
            raise Refused(415, f"a body of {' or '.join(BODIES[kind])} is expected")
        if headers.get("content-encoding") not in (None, "identity"):
            raise Refused(415, "a body is taken as it is, not compressed")
        if length is not None and (not length.isdecimal() or int(length) > self.most(kind)):
            raise Refused(413, f"a body of at most {self.most(kind)} bytes is taken")

    def most(self, kind: str) -> int:
        """Bytes of a body."""
        limits = self.limits
        return {"json": limits.json_bytes, "picture": limits.picture_bytes, "form": 2 * limits.picture_bytes + 65_536}[kind]

    async def read(self, scope: Scope, receive: Receive, kind: str) -> bytes:
        """The whole body."""
        if kind == "none":
            return b""
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Hung
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self.most(kind):
                        raise Refused(413, f"a body of at most {self.most(kind)} bytes is taken")
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise Refused(408, f"the body was not there within {self.limits.body_seconds:g} s") from None
        content = b"".join(parts)
        if kind == "json" and nested(content) > self.limits.depth:
            raise Refused(422, f"brackets nest deeper than {self.limits.depth}")
        return content


class Hung(Exception):
    """The client is gone."""


class Headers:
    """A request's headers; one that stands twice where once is meant is an error."""

    def __init__(self, scope: Scope) -> None:
        self.all: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            self.all.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def get(self, name: str) -> str | None:
        values = self.all.get(name, [])
        if len(values) > 1 and name != "cookie":
            raise Refused(400, f"the header {name} stands twice")
        return "; ".join(values) if values else None

    def one(self, name: str) -> str:
        return self.get(name) or ""


class Visit:
    """One request's way out: headers that all answers have, and what is logged of it."""

    def __init__(self, guard: Guard, scope: Scope, send: Send) -> None:
        self.guard, self.scope, self.out = guard, scope, send
        self.id, self.began, self.status = secrets.token_hex(8), time.perf_counter(), 0
        self.whole = self.began  # when its body was there

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name.decode("latin-1").lower(): value for name, value in message.get("headers", [])}
            added = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name not in given]
            added += [(b"x-request-id", self.id.encode()), (b"server-timing", self.timing().encode())]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        try:
            async with asyncio.timeout(self.guard.limits.send_seconds):
                await self.out(message)
        except TimeoutError:
            raise Hung from None

    def spent(self) -> float:
        """Seconds since the request's header was there."""
        return time.perf_counter() - self.began

    def timing(self) -> str:
        """Milliseconds since the header was there, and of these what went by after the client had sent all of its body."""
        work = time.perf_counter() - self.whole
        return f"work;dur={1000 * work:.1f}, total;dur={1000 * self.spent():.1f}"

    async def refuse(self, refused: Refused) -> None:
        """The error as JSON; nothing where an answer has begun already."""
        if self.status:
            return
        content = json.dumps({"error": error(refused, self.id)}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        headers += [(b"retry-after", str(refused.retry_after).encode())] if refused.retry_after is not None else []
        headers += [(b"www-authenticate", b"Bearer")] if refused.status == 401 else []
        headers += [(b"connection", b"close")] if refused.status in (408, 413) else []  # what follows is not read
        if refused.status == 401 and self.scope["path"] == "/" and self.scope["method"] == "GET":
            content = b"<!doctype html><title>unnoise</title><p>Open the link that <code>unnoise serve</code> printed.</p>"
            headers[:2] = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(content)).encode())]
        await self.send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})


def replay(content: bytes, receive: Receive) -> Receive:
    """The body that was read, to whoever reads it; after it, what the client does next."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": content, "more_body": False}

    return again


def nested(content: bytes) -> int:
    """How deep the brackets of a JSON text nest, found without reading it as JSON."""
    text = re.sub(rb'"(?:[^"\\]|\\.)*"?', b"", content, flags=re.DOTALL)
    depth = most = 0
    for sign in re.findall(rb"[\[\]{}]", text):
        depth += 1 if sign in b"[{" else -1
        most = max(most, depth)
    return most
