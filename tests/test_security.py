"""SECURITY.md: every line has its tests, and those that belong to no other file."""

from __future__ import annotations

import ast
import getpass
import json
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import TOKEN, Running, run_of, running

from unnoise.serve.entry import Entry, tokens
from unnoise.serve.limits import LIMITS
from unnoise.serve.server import Order, hosts

HERE = Path(__file__).parent
PAGE = HERE.parent / "SECURITY.md"


def test_every_line_names_tests_that_are_there() -> None:
    if not PAGE.is_file():
        pytest.skip("not a checkout of the repository")
    trees = [ast.parse(path.read_text("utf-8")) for path in HERE.rglob("test_*.py")]
    there = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    lines = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^$)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert [int(number) for number, _ in lines] == list(range(1, 21))
    for number, text in lines:
        named = re.findall(r"\btest_\w+", text.rpartition("[")[2])
        assert named, f"line {number} names no test"
        assert set(named) <= there, f"line {number}: {set(named) - there}"


def test_other_addresses_need_a_token(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(ValueError, match="--token-file"):
            Order([tmp_path], host=host).check()
        Order([tmp_path], host=host, token_file=tmp_path / "tokens").check()
    Order([tmp_path]).check()
    assert hosts(Order([tmp_path]), 80) >= {"127.0.0.1", "localhost:80", "[::1]"}
    assert "example.org:8765" in hosts(Order([tmp_path], allow_hosts=["Example.org"]), 8765)
    assert not any("example" in one for one in hosts(Order([tmp_path]), 8765))


def test_token_files(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    assert list(tokens(file)) == ["token"] and stat.S_IMODE(file.stat().st_mode) == 0o600
    made = file.read_text().strip()
    assert len(made) >= 43 and tokens(file) == tokens(file) and made.encode() not in tokens(file).values()
    entry = Entry(tokens(file), LIMITS)
    assert entry.by_token(made) is not None and entry.by_token(made[:-1]) is None and entry.by_token("") is None
    file.write_text("anna:" + "a" * 20 + "\n" + "b" * 20 + "\n")
    assert list(tokens(file)) == ["anna", "token-2"]
    for wrong in ("", "short", "a b:" + "x" * 20, "anna:" + "x" * 20 + "\nanna:" + "y" * 20, "ä" * 20):
        file.write_text(wrong)
        with pytest.raises(ValueError, match="token"):
            tokens(file)
    file.write_text("x" * 20)
    file.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        tokens(file)
    assert tokens(None) != tokens(None)


def test_a_report_is_shown_in_a_sandbox(tmp_path: Path) -> None:
    run = run_of("digits", tmp_path / "digits")
    (run / "report.html").write_text("<script>alert(1)</script>")
    with running([run], tmp_path) as server, server.client() as client:
        answer = client.get("/v1/models/digits/report")
        policy = answer.headers["content-security-policy"]
        assert answer.status_code == 200 and policy.startswith("sandbox;") and "script-src" not in policy
        assert "default-src 'none'" in policy and "frame-ancestors 'self'" in policy
        (run / "report.html").unlink()
        (run / "report.html").symlink_to("/etc/passwd")
        assert client.get("/v1/models/digits/report").status_code == 404


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("serve")
    with running([run_of("digits", folder / "digits")], folder) as one:
        yield one


def test_the_limits_are_in_the_schema(served: Running) -> None:
    with served.client() as client:
        schema = client.get("/openapi.json").json()
    assert schema["x-limits"] == LIMITS.table()
    fields = schema["components"]["schemas"]["Sample"]["properties"]
    assert fields["n"]["maximum"] == LIMITS.n and fields["steps"]["anyOf"][0]["maximum"] == LIMITS.steps


def test_metadata_holds_no_path(served: Running) -> None:
    folder = served.service.desk.models.served["digits"].folder
    with served.client() as client:
        answer = client.post("/v1/sample", json={"steps": 2, "n": 2}).json()
        told = json.dumps([answer, client.get("/v1/models").json()]).encode() + client.get(answer["images"][0]["url"]).content
    for word in (str(folder.parent), "/tmp", "/home", "/root", getpass.getuser() + "@", TOKEN):
        assert word.encode() not in told
    host = re.escape(socket.gethostname().encode())  # as a word: by chance a short one stands within an id
    assert not re.search(rb"(?<![A-Za-z0-9])" + host + rb"(?![A-Za-z0-9])", b"".join(re.findall(rb"[ -~]{8,}", told)))


def test_it_connects_to_nobody(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    connect = socket.socket.connect

    def watched(self: socket.socket, address: Any) -> Any:
        called.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    with served.client() as client:
        for body in ({"steps": 2}, {"steps": 2, "scale": 2, "cond": {"label": "1"}}):
            assert client.post("/v1/sample", json=body).status_code == 200
    assert called and {address[1] for address in called} == {served.port}  # the test's own calls are all there are
