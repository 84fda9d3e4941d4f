"""Samples by the million, in small: shards are the same whatever makes them, and are whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch
from serving import run_of

from unnoise.domain import Images
from unnoise.task.sample import Order, sample
from unnoise.task.shards import INDEX, shards

N, SIZE = 22, 4  # six shards, the last of two; batches of 8 are cut by shards


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of("digits", tmp_path_factory.mktemp("bulk") / "digits")


@pytest.fixture(scope="module")
def whole(run: Path) -> Path:
    """What one process makes undisturbed."""
    folder = run.parent / "whole"
    assert shards(run, order(), folder, SIZE) == (6, 0)
    return folder


def order(n: int = N, **more: object) -> Order:
    return Order(range(10, 10 + n), device="cpu", threads=1, **more)  # type: ignore[arg-type]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_they_hold_the_files_of_sample(run: Path, whole: Path, tmp_path: Path) -> None:
    """The same bytes by seed, with the class and the recipe beside, in order."""
    paths = sample(run, order(), tmp_path)
    expected = {path.stem: path.read_bytes() for path in paths if path.stem != "grid"}
    found: dict[str, bytes] = {}
    for path in sorted(whole.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
        for name in [name for name in members if name.endswith(".png")]:
            key = name.removesuffix(".png")
            found[str(int(key))] = members[name]
            told = json.loads(members[f"{key}.json"])
            assert told["unnoise"]["seed"] == int(key) and int(members[f"{key}.cls"]) == told["label"]
            assert told["unnoise"]["cond"]["label"] == str(told["label"])
    assert found == expected and list(found) == [str(seed) for seed in range(10, 32)]


def test_any_number_of_processes_makes_the_same(run: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in (2, 0, 1):
        monkeypatch.setenv("RANK", str(rank))
        assert shards(run, order(), tmp_path / "three", SIZE) == (2, 0)
    monkeypatch.undo()
    assert digests(tmp_path / "three") == digests(whole)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "three").iterdir()}
    gone = tmp_path / "three" / "samples-000004.tar"
    gone.unlink()
    assert shards(run, order(), tmp_path / "three", SIZE) == (1, 5)  # what is there is left as it is
    assert digests(tmp_path / "three") == digests(whole)
    assert all(path.stat().st_mtime_ns == at for path, at in before.items() if path != gone)


def test_killed_and_called_again_they_are_the_same(run: Path, whole: Path, tmp_path: Path) -> None:
    """Two processes as torchrun starts them, killed when the first shard is there; then one that finishes."""
    line = [sys.executable, "-m", "unnoise", "sample", str(run), "-n", str(N), "--seed=10", "--shards", str(tmp_path / "cut")]
    line += [f"--shard-size={SIZE}", "--threads=1", "--device=cpu"]
    both = [
        subprocess.Popen(line, env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"}, stdout=subprocess.DEVNULL)
        for rank in range(2)
    ]
    while not list((tmp_path / "cut").glob("*.tar")) and any(one.poll() is None for one in both):
        time.sleep(0.001)
    for one in both:
        one.send_signal(signal.SIGKILL)
        one.wait()
    there = digests(tmp_path / "cut")
    assert {name: digest for name, digest in there.items() if name.endswith(".tar")}.items() <= digests(whole).items()
    done = shards(run, order(), tmp_path / "cut", SIZE)
    assert done.made + done.there == 6 and done.there >= 1
    assert digests(tmp_path / "cut") == digests(whole)


def test_shards_of_another_order_are_left_alone(run: Path, whole: Path) -> None:
    before = digests(whole)
    for other, size in ((order(cond={"label": "3"}), SIZE), (order(N + 1), SIZE), (order(), 5)):
        with pytest.raises(ValueError, match="shards of another order"):
            shards(run, other, whole, size)
    with pytest.raises(ValueError, match="in a row"):
        shards(run, Order([3, 5, 9], device="cpu"), whole)
    assert digests(whole) == before and INDEX in before


def test_they_can_be_trained_on(whole: Path) -> None:
    data = Images(str(whole), size=8, channels=1, held_out=0).dataset()
    assert len(data) == N
    assert set(data.batch(torch.arange(N))["label"].tolist()) <= set(range(10))
