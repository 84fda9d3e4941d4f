"""No string leads anywhere: 300 that would like to in every place of the OpenAPI document, every path, form and header."""

from __future__ import annotations

import http.client
import io
import string
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from paths import Document, hostile
from PIL import Image
from serving import TOKEN, Running, run_of, running

SECRET = "a-canary-that-nobody-may-hear"
NAME = "canary-of-the-tests"
FEW = 100  # in the quick suite one string of so many in each place, others in each
EVENTS = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "subprocess.Popen",
    "os.system",
    "socket.connect",
)
heard: list[str] | None = None  # what the server's threads did to files, while it is listened to


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if heard is not None and event in EVENTS and threading.current_thread() is not threading.main_thread():
        heard.append(f"{event} {arguments}")


sys.addaudithook(_listen)  # cannot be taken back: silent unless `heard` is a list


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("serve")
    run = run_of("digits", folder / "digits")
    canary = tmp_path_factory.mktemp("elsewhere") / NAME
    canary.write_text(SECRET)
    (run / "link").symlink_to(canary)
    with running([run], folder) as one:
        yield one


def strings(server: Running) -> list[str]:
    run = server.service.desk.models.served["digits"].folder
    more = [NAME, "digits/weights.safetensors", "proc/self/environ", "windows/win.ini"]
    return hostile([str((run / "link").resolve())[1:], "etc/passwd"], more)


def png(colour: Any = 128, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def document(client: httpx.Client) -> Document:
    """The server's own, with pictures that are there where some are asked for."""
    typed = {"content-type": "image/png"}
    picture, mask = (client.post("/v1/pictures", content=png(c), headers=typed).json()["id"] for c in (128, 255))
    known = {"picture": picture, "mask": mask, "pictures": [picture, picture], "factor": 2}
    return Document(client.get("/openapi.json").json(), known)


def some(all_of_them: list[str], every: int, place: int) -> list[str]:
    return all_of_them[place % every :: every]


every = pytest.mark.parametrize("every", [FEW, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])


@pytest.fixture
def deeds() -> Iterator[list[str]]:
    """What the server does to files meanwhile; none of it may concern what the strings name."""
    global heard
    heard = []
    yield heard
    found, heard = heard, None
    for word in (NAME, "passwd", "environ", "win.ini", "safetensors", "link", "Popen", "os.system", "connect"):
        assert not [deed for deed in found if word in deed], word


def harmless(text: str, server: Running, where: Any) -> None:
    """An answer that says nothing of this machine."""
    own = str(server.service.desk.models.served["digits"].folder.parent)
    for word in (SECRET, "root:x:", "PATH=", "Traceback", "site-packages", own):
        assert word not in text, (where, text[:300])


def test_there_are_strings_and_places_enough(server: Running) -> None:
    with server.client() as client:
        places = list(document(client).places())
    assert len(strings(server)) >= 300
    names = {(path, name) for _, path, name, _ in places}
    assert names >= {
        ("/v1/sample", "model"),
        ("/v1/sample", "cond.(key)"),
        ("/v1/sample", "cond.(value)[]"),
        ("/v1/restore", "damage.kind"),
        ("/v1/interpolate", "pictures[]"),
        ("/v1/inpaint", "mask"),
        ("/v1/images/generations", "prompt"),
    }
    routes = server.service.inner.router.routes
    posts = {getattr(route, "path", "") for route in routes if "POST" in (getattr(route, "methods", None) or ())}
    others = {"/v1/link", "/v1/pictures", "/v1/images/edits"}  # nothing, bytes, a form
    assert {path for _, path, _, _ in places} == posts - others


@every
def test_no_string_in_a_body_leads_anywhere(server: Running, deeds: list[str], every: int) -> None:
    with server.client() as client:
        for i, (method, path, name, making) in enumerate(document(client).places()):
            for text in some(strings(server), every, i):
                answer = client.request(method, path, json=making(text.encode("utf-8", "replace").decode()))
                where = path, name, text[:80], answer.status_code
                assert answer.status_code in (200, 404, 422), where
                harmless(answer.text, server, where)


@every
def test_no_string_in_a_path_or_query_leads_anywhere(server: Running, deeds: list[str], every: int) -> None:
    """Of every route that takes one, listed or not."""
    places = []
    for route in server.service.inner.router.routes:
        path, methods = getattr(route, "path", ""), getattr(route, "methods", None) or ()
        asked = [one.name for one in route.dependant.query_params] if hasattr(route, "dependant") else []
        if "{" in path:
            head, _, tail = path.partition("{")
            places += [(method, head, tail.partition("}")[2]) for method in methods]
        places += [(method, f"{path.replace('{id_}', 'a' * 26)}?{name}=", "") for method in methods for name in asked]
    assert len(places) >= 10
    for i, (method, head, tail) in enumerate(places):
        for text in some(strings(server), every, i):
            target = head + quote(text, safe=string.punctuation) + tail
            to = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            to.request(method, target, headers={"Authorization": f"Bearer {TOKEN}"})
            answer = to.getresponse()
            status, content = answer.status, answer.read().decode("utf-8", "replace")
            to.close()
            listed = status == 200 and not text.strip("/.?#& ")[:1].isalnum()  # as /v1/jobs/ and ?key= of nothing
            assert status in (400, 401, 404, 405, 422) or listed, (method, target, status)
            harmless(content, server, target)


@every
def test_no_string_in_a_form_or_header_leads_anywhere(server: Running, deeds: list[str], every: int) -> None:
    """The fields of a form, the names of its files, and the header that tells clients apart."""
    with server.client() as client:
        fields = [name for *_, name, _ in document(client).places("multipart/form-data")]
        assert {"prompt", "model"} <= set(fields)
        for i, field in enumerate([*fields, "file"]):
            for text in some(strings(server), every, i):
                given = text.encode("utf-8", "replace").decode()
                files = {"image": (given if field == "file" else "x", png(), "image/png"), "mask": ("m", png(), "image/png")}
                answer = client.post("/v1/images/edits", data={} if field == "file" else {field: given}, files=files)
                assert answer.status_code in (400, 404, 422), (field, text[:80], answer.text[:200])  # that mask is never right
                harmless(answer.text, server, (field, text[:80]))
        for text in some(strings(server), every, 0):
            answer = client.post("/v1/sample", json={"steps": 1}, headers={"x-client": quote(text)})
            assert answer.status_code == 200
            harmless(answer.text, server, text)


def test_the_canary_would_be_heard(server: Running, tmp_path: Path) -> None:
    """A thread that opens it is noticed, and an answer with it too."""
    global heard
    heard = []
    file = server.service.desk.models.served["digits"].folder / "link"
    thread = threading.Thread(target=file.read_text)
    thread.start()
    thread.join()
    found, heard = heard, None
    assert any("link" in deed for deed in found)
    with pytest.raises(AssertionError):
        harmless(f"{SECRET}", server, "")
