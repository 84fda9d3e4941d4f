"""A disk that fills up at any point of a save: the checkpoint before stays whole, one line says what is missing, and it goes on.

`python tests/test_disk_full.py FOLDER LEVELS` is run inside a small file system of its own, where the system allows to make one.
"""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

import unnoise

PACKAGES = str(Path(unnoise.__file__).parents[1])
SIZE, VALUES = 4_000_000, 150_000  # bytes of the file system, values of a checkpoint


def fill(folder: Path, left: int) -> None:
    """Leave so many bytes free."""
    with open(folder / "filler", "wb") as file:
        file.write(bytes(max(shutil.disk_usage(folder).free - left, 0)))


def levels(folder: Path, n: int) -> list[dict[str, Any]]:
    """Saves at n levels of a disk, where it is asked before and where it says that there is room, beside the naive way."""
    import torch
    from safetensors.torch import save as to_bytes

    from unnoise.train import latest, read_weights, save

    tensors = {"w": torch.arange(VALUES, dtype=torch.float32)}
    size, rows, usage = VALUES * 4, [], shutil.disk_usage
    for k in range(n):
        for lies in (False, True):  # a quota, or another process that writes meanwhile
            run, left = folder / f"run-{k}-{lies}", int(size * k / n)
            save(run, 1, tensors, {})
            write_naively(run / "naive", to_bytes(tensors))
            fill(folder, left)
            if lies:
                shutil.disk_usage = lambda path: namedtuple("Usage", "free")(10**12)  # type: ignore[assignment]
            said, number = "", None
            try:
                save(run, 2, tensors, {})
            except OSError as error:
                said, number = str(error), error.errno
            shutil.disk_usage = usage
            found = latest(run, lambda line: None)
            clean = [path.name for path in (run / "state").iterdir()] == ["step-1"]
            try:
                write_naively(run / "naive", to_bytes(tensors | {"moments": tensors["w"] + 1}))  # larger than the one before
                read_weights(run / "naive")
                lost = False
            except (OSError, ValueError):
                lost = True
            (folder / "filler").unlink()
            save(run, 2, tensors, {})
            after = latest(run, lambda line: None)
            kept = found is not None and found.step == 1 and torch.equal(found.tensors["w"], tensors["w"])
            told = "disk full" in said and "bytes" in said and "are free" in said and "\n" not in said and number == errno.ENOSPC
            goes_on = after is not None and after.step == 2
            rows.append(
                {"left": left, "lies": lies, "kept": kept, "told": told, "clean": clean, "goes_on": goes_on, "naive_lost": lost}
            )
            del found, after  # what they map would keep its place on the disk
            shutil.rmtree(run)
    return rows


def write_naively(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def mounted(folder: Path, n: int) -> list[dict[str, Any]]:
    """The same in a file system of 4 MB; skips where none can be made."""
    folder.mkdir(parents=True, exist_ok=True)
    inside = f'mount -t tmpfs -o size={SIZE} none "$0" && exec "$1" "$2" "$0" "$3"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside]
    if shutil.which("unshare") is None or subprocess.run([*command[:4], "true"], capture_output=True).returncode:
        pytest.skip("a file system of one's own cannot be mounted here")
    environment = {"PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1"}
    arguments = [str(folder), sys.executable, __file__, str(n)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(rows: list[dict[str, Any]], n: int) -> None:
    assert len(rows) == 2 * n
    for what in ("kept", "told", "clean", "goes_on"):
        assert all(row[what] for row in rows), [row for row in rows if not row[what]]
    assert sum(row["naive_lost"] for row in rows) == len(rows)


def test_four_levels(tmp_path: Path) -> None:
    check(mounted(tmp_path / "disk", 4), 4)


@pytest.mark.slow
def test_twenty_levels(tmp_path: Path) -> None:
    check(mounted(tmp_path / "disk", 20), 20)


if __name__ == "__main__":
    print(json.dumps(levels(Path(sys.argv[1]), int(sys.argv[2]))))
