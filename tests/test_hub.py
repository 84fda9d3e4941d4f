"""Names on the hub: fetched, found in the cache, or told what is wrong in one line; the hub is a small server here."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from safetensors.torch import save_file

from unnoise import Model
from unnoise.network import UNet
from unnoise.zoo import diffusers

COMMIT, BRANCH = "c" * 40, "d" * 40
NAME = "someone/little"


def files() -> dict[str, bytes]:
    """A repository: a network alone with its scheduler, and what nobody needs."""
    config, weights = diffusers.dump(
        UNet((1, 8, 8), width=8, multipliers=(1,), blocks=1, groups=4, head_width=4, features="sin cos")
    )
    held = Path("weights.safetensors")
    save_file(weights, held)
    data = held.read_bytes()
    held.unlink()
    return {
        "config.json": json.dumps(config).encode(),
        "scheduler_config.json": json.dumps({"_class_name": "DDIMScheduler"}).encode(),
        "diffusion_pytorch_model.safetensors": data,
        "diffusion_pytorch_model.bin": b"a pickle that nobody asked for",
        "code.py": b"raise SystemExit",
    }


class Hub(BaseHTTPRequestHandler):
    """The few answers that a snapshot needs: what is in a revision, and each file with its digest."""

    held: dict[str, bytes] = {}
    asked: list[str] = []

    def do_HEAD(self) -> None:
        self.reply(False)

    def do_GET(self) -> None:
        self.reply(True)

    def reply(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if not path.startswith((f"/api/models/{NAME}", f"/{NAME}/")):
            return self.send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"}, body)
        if path.startswith("/api"):
            place = path.removeprefix(f"/api/models/{NAME}").strip("/").split("/")
            revision = place[1] if len(place) > 1 else "main"
            if revision not in ("main", "v1", COMMIT, BRANCH):
                return self.send(404, b'{"error": "Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"}, body)
            sha = BRANCH if revision in ("v1", BRANCH) else COMMIT
            listed = [{"rfilename": name, "type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                      for name, data in self.held.items()]  # fmt: skip
            told: object = listed if place[:1] == ["tree"] else {"id": NAME, "modelId": NAME, "sha": sha, "siblings": listed}
            return self.send(200, json.dumps(told).encode(), {"Content-Type": "application/json"}, body)
        _, _, revision, name = path.removeprefix(f"/{NAME}").split("/", 3)
        data = self.held.get(name)
        if data is None:
            return self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body)
        sha = BRANCH if revision in ("v1", BRANCH) else COMMIT
        return self.send(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": sha}, body)

    def send(self, code: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("huggingface_hub")
    here = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("hub"))
    Hub.held = files()
    os.chdir(here)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


SCRIPT = """
import json, sys
from unnoise.zoo.source import find
for name, options in json.loads(sys.argv[1]):
    try:
        print(json.dumps(["found", str(find(name, **options))]))
    except ValueError as error:
        print(json.dumps(["refused", str(error)]))
"""


def found(cache: Path, endpoint: str, *asked: tuple[str, dict[str, object]], **more: str) -> list[tuple[str, str]]:
    """What each name with its options gives, in a process of its own: the hub's library reads the environment once."""
    told = {**os.environ, "HF_HOME": str(cache), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_ETAG_TIMEOUT": "3", "NO_PROXY": "127.0.0.1", **more}  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps(asked)]
    done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


NOWHERE = "http://127.0.0.1:9"
WRONG: list[tuple[str, dict[str, object], str]] = [
    ("someone/else", {}, "no such repository on the hub"),
    (NAME, {"revision": "v2"}, "no such revision on the hub"),
    ("no/such/path", {}, "no such file or folder, and no name on the hub"),
    ("nothing", {}, "no such file or folder, and no name on the hub"),
    ("../../nowhere/etc", {}, "no such file or folder, and no name on the hub"),
]


def test_names_are_fetched_once_and_what_is_wrong_is_one_line(hub: str, tmp_path: Path) -> None:
    asked = [(NAME, {}), (NAME, {"revision": "v1"}), *((name, options) for name, options, _ in WRONG)]
    (kind, folder), (kind_v1, folder_v1), *wrong = found(tmp_path, hub, *asked)
    assert kind == kind_v1 == "found" and Path(folder).name == COMMIT and Path(folder_v1).name == BRANCH
    names = {path.name for path in Path(folder).iterdir()}
    assert names == {"config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors"}
    model = Model.from_pretrained(folder)  # whose files are links into the cache
    assert model.domain.shape == (1, 8, 8) and "DDIM" in model.recipe.members("sampler")
    for (name, _, message), (told, line) in zip(WRONG, wrong, strict=True):
        assert told == "refused" and message in line and name in line and "\n" not in line

    offline = {"offline": True}
    here = found(tmp_path, NOWHERE, (NAME, offline), ("someone/else", offline), (NAME, {"revision": "v1", **offline}))
    assert here[0] == ("found", folder) and here[2] == ("found", folder_v1)
    assert here[1][0] == "refused" and "not in the hub's cache here; without --offline" in here[1][1]


def test_no_network_is_one_line_and_the_environment_is_heard(hub: str, tmp_path: Path) -> None:
    (told, line), *_ = found(tmp_path, NOWHERE, (NAME, {}))
    assert told == "refused" and NAME in line and "network" in line and "\n" not in line
    (told, line), *_ = found(tmp_path, hub, (NAME, {}), HF_HUB_OFFLINE="1")
    assert told == "refused" and "HF_HUB_OFFLINE" in line
