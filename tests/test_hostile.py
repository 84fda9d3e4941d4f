"""Hostile files are refused: each in a second, with one line, without running anything, in little more memory than the file."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile.archives import CODE, SENTINEL, TRICKS
from hostile.folders import FOLDERS, HEADERS, RUNS, directory

import unnoise
from unnoise.task.bring import bring

CONFIG = '{"image_size": 8, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1, "attention_resolutions": []}'
ROOM = 50 << 20
TABLE: dict[str, Callable[[Path], Path]] = {
    f"{group}: {name}": make
    for group, makers in {"code": CODE, "trick": TRICKS, "header": HEADERS, "folder": FOLDERS, "run": RUNS}.items()
    for name, make in makers.items()
}


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10


def apart(work: Callable[[], Any], seconds: float = 60.0) -> dict[str, Any]:
    """What a function does in a process of its own: its error, the time of the processor it took and the memory it needed."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover (another process)
        os.close(reads)
        told: dict[str, Any] = {}
        try:
            signal.alarm(int(seconds))
            Path("/proc/self/clear_refs").write_text("5")
            gc.freeze()  # the collector shall not walk, and so copy, all that this process has from its parent
            before, start = peak(), time.process_time()
            try:
                work()
            except BaseException as error:
                told = {"error": type(error).__mro__[-3].__name__, "bad input": isinstance(error, ValueError), "says": str(error)}
            told |= {"seconds": time.process_time() - start, "memory": peak() - before}
        finally:
            os.write(writes, json.dumps(told).encode())
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said) if said else {"says": "the process died", "bad input": False, "seconds": seconds, "memory": 0}


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is right is read once: later no time goes into importing libraries."""
    folder = tmp_path_factory.mktemp("right")
    (folder / "theirs").mkdir()
    bring(directory(folder / "theirs", weights=True), folder / "run")
    unnoise.load(folder / "run")


@pytest.fixture
def sentinel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is there if code ran; a module that could be imported writes it too."""
    place = tmp_path / "ran"
    monkeypatch.setenv(SENTINEL, str(place))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "hostile_module.py").write_text(
        f"import os\nopen(os.environ['{SENTINEL}'], 'w').close()\nclass Network: pass\ndef thing(*a, **k): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    return place


def made(name: str, folder: Path) -> Path:
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TABLE[name](folder)


def opened(path: Path, run: Path) -> Callable[[], Any]:
    """By explicit import, which opens the most; a run as it is."""
    if (path / "recipe.toml").exists():
        return lambda: unnoise.load(path)
    preset = None if path.is_dir() else str(path.parent / "config.json")
    if preset and not Path(preset).exists():
        Path(preset).write_text(CONFIG)
    return lambda: bring(path, run, preset=preset)


def test_there_are_enough_of_them() -> None:
    assert len(TABLE) >= 80


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("name", TABLE)
def test_refused(name: str, tmp_path: Path, sentinel: Path, warm: None) -> None:
    path = made(name, tmp_path / "files")
    size = sum(f.stat().st_size for f in (tmp_path / "files").rglob("*") if f.is_file() and not f.is_symlink())
    told = apart(opened(path, tmp_path / "run"))
    assert told["bad input"] and told["says"], told
    assert "\n" not in told["says"] and len(told["says"]) < 600, told["says"]
    assert told["seconds"] <= 1.0, told
    assert told["memory"] <= 2 * size + ROOM, (told, size)
    assert not sentinel.exists(), "code was run"
    assert not (tmp_path / "run").exists()


NAIVE = ("code: reduce os.system", "code: reduce eval", "code: reduce exec", "code: raw pickle", "code: a file in the file")


@pytest.mark.parametrize("name", NAIVE)
def test_a_naive_reader_runs_their_code(name: str, tmp_path: Path, sentinel: Path) -> None:
    import torch

    path = made(name, tmp_path / "files")
    apart(lambda: torch.load(path, weights_only=False))
    assert sentinel.exists()


def test_a_naive_reader_fills_memory(tmp_path: Path) -> None:
    import zipfile

    path = made("trick: deflate bomb, pickle", tmp_path / "bomb")
    told = apart(lambda: zipfile.ZipFile(path).read("archive/data.pkl"))
    assert told["memory"] > 2 * path.stat().st_size + ROOM


def test_a_naive_reader_leaves_the_folder(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = made("folder: a shard above", tmp_path / "files")
    (name,) = json.loads((folder / "diffusion_pytorch_model.safetensors.index.json").read_text())["weight_map"].values()
    assert "secret" in load_file(folder / name)
