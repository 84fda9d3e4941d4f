"""`unnoise serve` as its user has it: a process, one link, and a stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from serving import run_of

from unnoise.serve import server
from unnoise.serve.models import Models

SERVE = [sys.executable, "-m", "unnoise", "serve"]


def test_it_prints_one_link_and_leaves_with_0(tmp_path: Path) -> None:
    run = run_of("digits", tmp_path / "digits")
    command = [*SERVE, str(run), "--port", "0", "--device", "cpu", "--threads", "1", "--token-file", str(tmp_path / "token")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        link = re.search(r"(http://127\.0\.0\.1:\d+)(/enter\?key=\S+)", process.stdout.readline())
        assert link
        with httpx.Client(base_url=link[1], timeout=60) as client:
            assert client.get(link[2]).status_code == 200
            assert client.get("/v1/models").json()["data"][0]["id"] == "digits"
            answer = client.post("/v1/sample", json={"steps": 2}, headers={"origin": link[1]})
            assert answer.status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        said = process.stdout.read() + process.stderr.read()
    token = (tmp_path / "token").read_text().strip()
    assert token not in said and link[2] not in said and '"route": "/v1/sample"' in said
    assert str(tmp_path) not in said


def test_what_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        ([str(tmp_path / "empty")], "no run folder"),
        ([str(tmp_path / "empty"), "--host", "0.0.0.0"], "--token-file"),
        ([str(tmp_path / "empty"), "--log-level", "loud"], "--log-level"),
    ):
        done = subprocess.run([*SERVE, *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(("torchs", "cores", "threads"), [(8, 8, 7), (4, 8, 4), (2, 2, 1), (1, 1, 1)])
def test_a_core_is_left_to_what_is_not_the_network(
    torchs: int, cores: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is said, threads for all cores but one; no more than torch would take, and one at least."""
    before, asked = torch.get_num_threads(), list[int]()

    def models(runs: Any, device: str, n: int, *_: Any) -> Models:
        asked.append(n)
        return Models(runs, device, 1)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(server, "Models", models)
    monkeypatch.setattr(torch, "get_num_threads", lambda: torchs)
    run = run_of("digits", tmp_path / "digits")
    for given in (None, 3):
        server.Service(server.Order([run], device="cpu", threads=given))
    monkeypatch.undo()
    torch.set_num_threads(before)
    assert asked == [threads, 3]
