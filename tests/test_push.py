"""Pushing, to a hub of our own on this machine: what is asked of it, and what never leaves."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.test_export import LABEL, make, saved

pytest.importorskip("huggingface_hub")


class Hub(BaseHTTPRequestHandler):
    """The few addresses that an upload of small files asks for; files arrive in `files`, all else in `asked`."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        hub: Any = self.server
        self.answer({"error": "no"} if hub.refuse else {"id": "me/digits"}, hub.refuse or 200)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self.chunks()
        hub: Any = self.server
        hub.asked.append((self.path, self.headers.get("Authorization"), body))
        if hub.refuse:
            self.answer({"error": "no"}, hub.refuse)
        elif self.path == "/api/repos/create":
            self.answer({"url": f"http://127.0.0.1:{hub.server_port}/me/digits", "name": "me/digits", "id": "1"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self.answer({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                told = json.loads(line)
                if told["key"] == "file":
                    hub.files[told["value"]["path"]] = base64.b64decode(told["value"]["content"])
            commit = {"commitOid": "0" * 40, "commitUrl": f"http://127.0.0.1:{hub.server_port}/me/digits/commit/{'0' * 40}"}
            self.answer({**commit, "hookOutput": "", "success": True})
        else:
            self.answer({"errors": [], "warnings": []})

    def chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        return found

    def answer(self, told: dict[str, Any], code: int = 200) -> None:
        body = json.dumps(told).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.files, server.refuse = [], {}, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = saved(make({"model": {"Defaults": {"steps": 3}}}, (1, 8, 8), LABEL), tmp_path_factory.mktemp("run"))
    recipe = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(recipe.replace('root = ""', 'root = "/home/me/secret/pictures"'))
    (folder / "state" / "step-7").mkdir(parents=True)
    (folder / "state" / "step-7" / "state.safetensors").write_bytes(b"moments")
    (folder / "log.jsonl").write_text(json.dumps({"step": 7, "loss": 0.5, "time": {"seconds": 60.0}}) + "\n")
    (folder / "report.json").write_text(json.dumps({"accuracy": 0.9, "accuracy_interval": [0.8, 1.0], "samples": 10, "nfe": 3}))
    return folder


def unnoise(hub: Any, *arguments: str, home: Path, **told: str) -> subprocess.CompletedProcess[str]:
    told = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"} | told
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))} | told
    return subprocess.run([sys.executable, "-m", "unnoise", *arguments], capture_output=True, text=True, env=environment)


def test_a_run_goes_up_without_its_training(hub: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_abc\n")
    options = ["--private", "--token-file", str(tmp_path / "token"), "--license", "mit", "--dataset", "pets"]
    done = unnoise(hub, "push", str(run), "me/digits", *options, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/me/digits") and "hf_abc" not in done.stdout + done.stderr
    assert {key for _, key, _ in hub.asked} == {"Bearer hf_abc"}
    created = next(json.loads(body) for path, _, body in hub.asked if path == "/api/repos/create")
    assert (created.get("private") or created.get("visibility") == "private") and created["name"] == "digits"
    assert set(hub.files) == {"README.md", "certificate.json", "data.json", "recipe.toml", "weights.safetensors"}
    assert not any(b"secret" in content or b"moments" in content for content in hub.files.values())
    assert hub.files["weights.safetensors"] == (run / "weights.safetensors").read_bytes()
    card = hub.files["README.md"].decode()
    for line in ("license: mit", "- pets", "# digits", "| steps of training | 7 |", "0.9 (0.8 to 1)", "cat, dog, eel"):
        assert line in card


def test_an_exported_folder_goes_up_as_it_is(hub: Any, run: Path, tmp_path: Path) -> None:
    assert unnoise(hub, "export", str(run), str(tmp_path / "out"), home=tmp_path).returncode == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "token").write_text("hf_abc")
    done = unnoise(hub, "push", str(tmp_path / "out"), "me/digits", "--token-file", str(tmp_path / "token"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "notes.txt" not in hub.files and hub.files["README.md"] == (tmp_path / "out" / "README.md").read_bytes()


def test_refusals_are_one_line(hub: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_abc")
    token = ["--token-file", str(tmp_path / "token")]
    for refuse, name, options, line in (
        (403, "me/digits", token, "the hub refuses me/digits to this token (403)"),
        (0, "digits", token, "'digits' is no name on the hub; expected owner/name"),
        (0, "me/digits", ["--token-file", str(tmp_path / "none")], "cannot be read"),
    ):
        hub.refuse = refuse
        done = unnoise(hub, "push", str(run), name, *options, home=tmp_path)
        assert done.returncode == 2 and line in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not hub.files


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub cannot be reached"),
        ({"HF_ENDPOINT": "http://no-such-hub.invalid"}, "is there a network?"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)
def test_without_a_hub_one_line_says_so(hub: Any, run: Path, tmp_path: Path, told: dict[str, str], line: str) -> None:
    (tmp_path / "token").write_text("hf_abc")
    done = unnoise(hub, "push", str(run), "me/digits", "--token-file", str(tmp_path / "token"), home=tmp_path, **told)
    assert done.returncode == 2 and line in done.stderr and done.stderr.count("\n") == 1, done.stderr
