"""Nobody gets in who should not: every route against tokens, hosts, origins, types, sizes and strings."""

from __future__ import annotations

import itertools
import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import TOKEN, Running, run_of, running

from unnoise.serve.limits import LIMITS

LIMIT = replace(LIMITS, headers_seconds=1.0, body_seconds=1.0, connections=40, session_seconds=3600.0)
ID = "a" * 26
GOOD: dict[tuple[str, str], Any] = {}  # method and path -> a body that is right in form


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("serve")
    with running([run_of("digits", folder / "digits")], folder, LIMIT) as one:
        yield one


def routes(server: Running) -> list[tuple[str, str, str]]:
    """Every route that there is: method, a path of it, and the kind of body."""
    found = []
    for route in server.service.inner.router.routes:
        for method in getattr(route, "methods", None) or ():
            path = route.path.replace("{id_}", ID).replace("{name:path}", "none.js")  # type: ignore[attr-defined]
            extra = getattr(route, "openapi_extra", None) or {}
            found.append((method, path, extra.get("x-body", "json" if method == "POST" else "none")))
    return [one for one in found if one[0] != "HEAD"]


def expired(server: Running) -> str:
    cookie = server.service.entry.enter(server.service.entry.key())
    assert cookie is not None
    entry = server.service.entry
    entry.sessions = {key: (name, 0.0) for key, (name, _) in entry.sessions.items()}
    return cookie


def answered(server: Running, method: str, path: str, headers: dict[str, str], body: bytes | None) -> httpx.Response:
    with httpx.Client(base_url=server.url) as client:
        return client.request(method, path, headers=headers, content=body)


KINDS = {"json": "application/json", "picture": "image/png", "form": "multipart/form-data; boundary=x", "none": None}
HOSTS = ["own", "localhost", "evil.example", "127.0.0.1", ""]
ORIGINS = [None, "own", "null", "http://evil.example"]
TYPES = ["right", "text/plain"]


def test_only_the_right_token_host_origin_and_type_pass(server: Running) -> None:
    """Every route x {no, wrong, expired, right} x 40 sets of host, origin and type: 403, 401 and 415 before anything else."""
    own = f"127.0.0.1:{server.port}"
    tokens = {
        "no": {},
        "wrong": {"authorization": "Bearer " + "x" * 43},
        "expired": {"cookie": f"unnoise={expired(server)}"},
        "right": {"authorization": f"Bearer {TOKEN}"},
    }
    cells = 0
    with httpx.Client(base_url=server.url) as client:
        for method, path, kind in routes(server):
            for (token, auth), host, origin, type_ in itertools.product(tokens.items(), HOSTS, ORIGINS, TYPES):
                host_ok, origin_ok = host in ("own", "localhost"), origin in (None, "own")
                headers = {**auth, "host": {"own": own, "localhost": f"localhost:{server.port}"}.get(host, host)}
                headers |= {} if origin is None else {"origin": f"http://{own}" if origin == "own" else origin}
                type_of = KINDS[kind] if type_ == "right" else type_
                headers |= {} if type_of is None or kind == "none" else {"content-type": type_of}
                body = None if kind == "none" else b"\xff"
                status = client.request(method, path, headers=headers, content=body).status_code
                cells += 1
                where = (method, path, token, host, origin, type_, status)
                if path == "/healthz":
                    assert status == (200 if origin_ok else 403), where
                elif not host_ok or not origin_ok:
                    assert status in (400, 403), where
                elif path == "/enter":
                    assert status == 401, where  # no key
                elif token != "right":
                    assert status == 401, where
                elif kind != "none" and type_ != "right":
                    assert status == 415, where
                else:
                    assert status in (200, 201, 400, 404, 415, 422), where
    assert cells > 3000


def test_a_cookie_changes_nothing_from_elsewhere(server: Running) -> None:
    """Neither without an Origin, nor with another one; reading needs none, as browsers send none."""
    entry, own = server.service.entry, f"http://127.0.0.1:{server.port}"
    cookie = {"cookie": f"unnoise={entry.enter(entry.key())}"}
    body = json.dumps({"n": 1, "steps": 2}).encode()
    typed = {"content-type": "application/json"}
    assert answered(server, "GET", "/v1/models", cookie, None).status_code == 200
    assert answered(server, "POST", "/v1/sample", {**cookie, **typed, "origin": own}, body).status_code == 200
    assert answered(server, "POST", "/v1/sample", {**cookie, **typed}, body).status_code == 401
    for origin in ("null", "http://evil.example", own + ".evil.example", own + "/", own.upper()):
        assert answered(server, "POST", "/v1/sample", {**cookie, **typed, "origin": origin}, body).status_code == 403


def test_the_link_works_once_and_its_cookie_is_kept_from_scripts(server: Running) -> None:
    key = server.service.entry.key()
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/").status_code == 401
        first = client.get("/enter", params={"key": key})
        cookie = first.headers["set-cookie"]
        assert first.status_code == 200 and "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and "Path=/" in cookie
        assert key not in first.text and "unnoise=" in cookie
        assert client.get("/v1/models").status_code == 200
        assert client.get("/v1/models", headers={"cookie": "unnoise=" + "x" * 43}).status_code == 401
    assert answered(server, "GET", f"/enter?key={key}", {}, None).status_code == 401


def test_every_answer_binds_the_browser(server: Running) -> None:
    with server.client() as client:
        for method, path, _ in routes(server):
            headers = client.request(method, path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy, path
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff" and headers["x-request-id"]
            assert not any(name.startswith("access-control") for name in headers) and "server" not in headers


def test_others_do_not_get_at_what_is_mine(server: Running) -> None:
    """Jobs and pictures belong to a token's name."""
    with server.client() as mine, server.client(authorization=f"Bearer {TOKEN}-of-another") as theirs:
        answer = mine.post("/v1/sample", json={"steps": 2}).json()
        for path in (answer["images"][0]["url"], f"/v1/jobs/{answer['id']}", f"/v1/jobs/{answer['id']}/events"):
            assert mine.get(path).status_code == 200
            assert theirs.get(path).status_code == 404
        assert theirs.delete(f"/v1/jobs/{answer['id']}").status_code == 404
        assert theirs.get("/v1/jobs").json()["data"] == []


WRONG: list[dict[str, Any]] = [
    {"n": 0}, {"n": 17}, {"n": 1.5}, {"n": "3"}, {"n": True}, {"steps": 0}, {"steps": 1001}, {"steps": -1}, {"steps": "x"},
    {"seed": -1}, {"seed": 2**53}, {"seed": 1.0}, {"seeds": []}, {"seeds": [1] * 17}, {"seeds": [1, 2], "n": 3},
    {"seed": 2**53 - 1, "n": 2}, {"scale": 1e7}, {"scale": "NaN"}, {"cond": {"lable": 1}}, {"cond": {"label": "eleven"}},
    {"cond": {"label": [1, 2, 3]}}, {"cond": {"label": 2.5}}, {"cond": []}, {"cond": {"label": {"a": 1}}}, {"sampler": "Nobody"},
    {"sampler": "SDEdit"}, {"sampler": "os:getcwd"}, {"sampler": "Fitted"}, {"sampler_options": {"eta": 0.5, "ета": 1}},
    {"sampler": "DDIM", "sampler_options": {"eta": "a:b"}}, {"sampler": "DDIM", "sampler_options": {"nothing": 1}},
    {"sampler": "DDIM", "sampler_options": {"eta": -3}}, {"interval": [3, 1], "scale": 2}, {"classifier": "digits", "scale": 2},
    {"model": "../digits"}, {"model": "Digits"}, {"model": "none"}, {"model": 3}, {"format": "exe"}, {"wait": "perhaps"},
    {"unknown": 1}, {"prompt": "x"}, {"url": "http://169.254.169.254/"}, {"cond": {"label": "3"}, "scale": [1]},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=json.dumps)
def test_every_field_has_its_bounds(server: Running, wrong: dict[str, Any]) -> None:
    with server.client() as client:
        answer = client.post("/v1/sample", json=wrong)
    assert answer.status_code in (404, 422), answer.text
    told = answer.json()["error"]
    assert told["message"] and "\n" not in told["message"] and len(told["message"]) < 600
    assert "/tmp" not in answer.text and "Traceback" not in answer.text and ".py" not in answer.text


def test_the_product_has_a_bound_too(tmp_path: Path) -> None:
    with server_of(tmp_path, work=8 * 8 * 16 * 20) as server, server.client() as client:
        assert client.post("/v1/sample", json={"n": 4, "steps": 20}).status_code == 200
        answer = client.post("/v1/sample", json={"n": 16, "steps": 1000})
        assert answer.status_code == 422 and "product" in answer.json()["error"]["message"]
        assert client.post("/v1/sample", json={"n": 16, "steps": 20, "sampler": "Heun"}).status_code == 422


def test_evaluations_are_counted_as_they_run(tmp_path: Path) -> None:
    """A sampler that takes many a step is stopped; the server goes on."""
    with server_of(tmp_path, evaluations=30) as server, server.client() as client:
        assert client.post("/v1/sample", json={"steps": 100}).status_code == 422
        assert client.post("/v1/sample", json={"steps": 10}).status_code == 200


BAD_JSON = [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{\"n\": 1", b'{"n": NaN}', b'{"n": 1e999}', b'{"scale": Infinity}',
            b"[" * 100_000, b'{"cond":' * 40 + b"1" + b"}" * 40, b'{"n": ' + b"9" * 5000 + b"}"]  # fmt: skip


@pytest.mark.parametrize("content", BAD_JSON, ids=lambda c: repr(c[:12]))
def test_what_is_no_request_is_refused(server: Running, content: bytes) -> None:
    with server.client() as client:
        answer = client.post("/v1/sample", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert "error" in answer.json()


def test_bodies_are_refused_by_size_before_they_are_read(server: Running) -> None:
    with server.client() as client:
        big = b'{"model": "' + b"x" * LIMITS.json_bytes + b'"}'
        assert client.post("/v1/sample", content=big, headers={"content-type": "application/json"}).status_code == 413
    head = begin(server, "POST /v1/pictures", "Content-Type: image/png")
    assert b" 413 " in raw(server, f"{head}Content-Length: {LIMITS.picture_bytes + 1}\r\n\r\n".encode())
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert b" 413 " in raw(
        server, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), [chunk] * (LIMITS.picture_bytes // 0x10000 + 2)
    )


def test_a_slow_body_and_a_slow_header_are_given_up(server: Running) -> None:
    head = begin(server, "POST /v1/sample", "Content-Type: application/json")
    assert b" 408 " in raw(server, f"{head}Content-Length: 100\r\n\r\n{{".encode())
    assert raw(server, head.encode()) == b""  # closed without a word
    with server.client() as client:
        assert client.get("/healthz").text == "ok"


def test_an_answer_says_what_time_was_the_clients_own(server: Running) -> None:
    """The work begins when the body is whole: what went by until then is in the total alone."""

    def body() -> Iterator[bytes]:
        yield b"{"
        time.sleep(0.3)
        yield b'"steps": 0}'

    with server.client() as client:
        answer = client.post("/v1/sample", content=body(), headers={"content-type": "application/json"})
    told = dict(re.findall(r"(work|total);dur=([\d.]+)", answer.headers["server-timing"]))
    assert answer.status_code == 422 and float(told["total"]) - float(told["work"]) >= 290


def begin(server: Running, request: str, *headers: str) -> str:
    """A request's first lines, which lack the empty one."""
    lines = (f"{request} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Authorization: Bearer {TOKEN}", *headers)
    return "".join(f"{line}\r\n" for line in lines)


def raw(server: Running, content: bytes, more: list[bytes] | None = None, seconds: float = 10) -> bytes:
    """What comes back for bytes as they are."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as to:
        try:
            for part in (content, *(more or [])):
                to.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            return to.recv(65_536)
        except (TimeoutError, ConnectionResetError):
            return b""


def test_the_log_says_nothing_of_what_was_asked(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    from unnoise.serve.log import Lines

    with caplog.at_level("INFO", "unnoise.serve"), server.client() as client:
        client.post("/v1/sample", json={"cond": {"label": "3"}, "steps": 2, "seed": 987654321})
        client.get("/enter", params={"key": "a-secret-key"})
        client.get("/none/%0aforged?x=secret")
    lines = [Lines().format(record) for record in caplog.records]
    assert any('"route": "/v1/sample"' in line for line in lines)
    for line in lines:
        assert json.loads(line) and "\n" not in line
        assert not any(word in line for word in (TOKEN, "987654321", "a-secret-key", "forged", "secret", "label"))


def server_of(tmp_path: Path, **limits: Any) -> Any:
    return running([run_of("digits", tmp_path / "digits")], tmp_path, replace(LIMITS, **limits))
