"""Watching a run: what its folder tells, a page that asks nobody for anything, and a server that answers one address only."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from unnoise.recipe import Recipe
from unnoise.task.report.history import History
from unnoise.task.train import train
from unnoise.task.watch import watched
from unnoise.task.watch.page import page
from unnoise.task.watch.server import Server, make

TINY = [
    "network.UNet.width=8",
    "network.UNet.heads=1",
    "train.Trainer.steps=8",
    "train.Trainer.batch=8",
    "train.Trainer.log_every=1",
    "train.Trainer.validate_every=2",
    "train.Trainer.preview_every=4",
    "train.Trainer.health_every=4",
    "train.Trainer.tensorboard=false",
    "model.Defaults.steps=2",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watch") / "<run & more>"
    train(Recipe.read("digits", TINY), folder, device="cpu", report=False, say=lambda line: None)
    return folder


@pytest.fixture
def half(finished: Path, tmp_path: Path) -> Path:
    """The run as it was at step 4, its process alive."""
    folder = shutil.copytree(finished, tmp_path / "half")
    rows = (folder / "log.jsonl").read_text().splitlines(keepends=True)
    kept = [row for row in rows if json.loads(row)["step"] <= 4]
    (folder / "log.jsonl").write_text("".join(kept) + rows[-1][:20])  # and a row that is just being written
    (folder / "previews" / "step-0000008.png").unlink()
    (folder / ".lock").write_text(f"{os.getpid()}\n")
    return folder


def test_what_a_folder_tells(finished: Path, half: Path) -> None:
    whole, now = watched(finished), watched(half)
    assert whole.finished and whole.state == "finished" and whole.left is None
    assert (now.step, now.steps, now.state) == (4, 8, "training") and now.left is not None and now.rate is not None
    assert now.left == pytest.approx(4 / now.rate) and len(now.losses) == 5 and now.health is not None
    assert now.preview is not None and now.preview.name == "step-0000004.png"
    text = "\n".join(now.lines())
    assert "4 of 8 steps (50%)" in text and "steps/s" in text and "t 0.0-0.2: held out" in text and "copies" in text
    (half / ".lock").write_text("99999999\n")
    assert watched(half).state.startswith("stopped")


def test_what_went_back_is_told(half: Path) -> None:
    made = [
        {"from": 6, "rate": 0.5, "because": "the <loss> is not finite"},
        {"from": 7, "rate": 0.4, "because": "the loss is not finite"},
    ]
    with (half / "log.jsonl").open("r+") as log:
        kept = [line for line in log if line.endswith("\n")]
        log.seek(0)
        log.writelines([*kept, *(json.dumps({"step": 4, "rolled_back": one, "time": {}}) + "\n" for one in made)])
        log.truncate()
    told = "it went back 2 times, the last time from step 7 to 4, because the loss is not finite: lr is 0.2 of the recipe's"
    assert told in "\n".join(watched(half).lines()) and told.replace("'", "&#39;") in page(half)
    assert [one["from"] for one in History.read(half).numbers()["rollbacks"]] == [6, 7]


def test_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run folder") as error:
        watched(tmp_path)
    assert "\n" not in str(error.value)


def test_a_run_that_has_logged_nothing(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes((finished / "recipe.toml").read_bytes())
    assert watched(tmp_path).state == "not begun" and "0 of 8" in "\n".join(watched(tmp_path).lines())
    assert "0 %" in page(tmp_path)


def test_the_page_loads_nothing_and_reloads_itself(finished: Path, half: Path) -> None:
    text, done = page(half), page(finished)
    assert '<meta http-equiv="refresh" content="5">' in text and "http-equiv" not in done
    for html in (text, done):
        assert not re.search(r"<script|<link|@import|\bsrc=\"(?!data:)|url\((?!#)|https?://(?!www.w3.org/)", html)
        assert html.count("data:image/png") == 1 and "<svg" in html
    assert "&lt;run &amp; more&gt;" in done and "<run" not in done


@pytest.fixture
def server(half: Path) -> Iterator[Server]:
    with make(half) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: Server, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_the_server_answers_its_own_address_only(server: Server, half: Path) -> None:
    assert server.server_address[0] == "127.0.0.1"
    status, text, headers = ask(server, f"/{server.secret}")
    assert status == 200 and "50 %" in text and "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    for path in ("/", "/x", f"/{server.secret}/", f"/{server.secret}/../recipe.toml", "/%2e%2e/log.jsonl"):
        assert ask(server, path)[0] == 404
    assert ask(server, f"/{server.secret}", host="evil.example")[0] == 404
    assert ask(server, f"/{server.secret}", method="POST")[0] == 501
    (half / "recipe.toml").unlink()
    status, text, _ = ask(server, f"/{server.secret}")
    assert status == 503 and str(half) not in text
