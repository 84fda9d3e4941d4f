"""The cache of decoded pictures: used, mended, whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import pytest
from pictures import many

from unnoise.domain import Images

pytestmark = pytest.mark.usefixtures("cache")


def test_the_cache_is_used_and_mended(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = many(tmp_path, 30)
    first = Images(str(folder)).facts()

    def unwanted(*_: object) -> None:
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr("unnoise.domain.cache._build", unwanted)
        assert Images(str(folder)).facts() == first
        with pytest.raises(AssertionError, match="decoded again"):
            Images(str(folder), size=2).facts()
        with pytest.raises(AssertionError, match="decoded again"):
            Images(str(many(folder, 1, 99))).facts()
    (folder / "0099.png").unlink()
    before = (folder / "0000.png").stat()
    (folder / "0000.png").write_bytes((folder / "0000.png").read_bytes())
    os.utime(folder / "0000.png", ns=(before.st_atime_ns, before.st_mtime_ns))  # as unpacking an archive does
    with monkeypatch.context() as patch, pytest.raises(AssertionError, match="decoded again"):
        patch.setattr("unnoise.domain.cache._build", unwanted)
        Images(str(folder)).facts()
    Images(str(folder)).facts()
    for name in ("x.npy", "meta.json", "tables.npz"):
        for file in list(cache.rglob(name)):
            file.write_bytes(file.read_bytes()[:-20])
        assert Images(str(folder)).facts() == first
    assert not list(cache.rglob("*.partial-*"))


def test_two_may_build_at_once(tmp_path: Path, cache: Path) -> None:
    folder, found = many(tmp_path, 200), []
    threads = [Thread(target=lambda: found.append(Images(str(folder)).facts()["digest"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert len(list((cache / "pictures").iterdir())) == 1


def test_a_full_cache_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3}))
    with pytest.raises(OSError, match="the cache needs 72 bytes and 3 are free"):
        Images(str(many(tmp_path, 2))).facts()
