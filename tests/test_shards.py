"""Shards: pictures in many .tar files are what they are in a folder, whether decoded once or each time."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.domain import Images
from unnoise.domain.inplace import InPlace
from unnoise.domain.shards import Shards, expanded

N, SHARDS = 30, 3


def png(seed: int, size: int = 8) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes, **fields: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in fields.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def root(tmp_path: Path, cache: Path) -> Path:
    """30 pictures of 3 classes in 3 shards, and the same in a folder."""
    (tmp_path / "shards").mkdir()
    for shard in range(SHARDS):
        with tarfile.open(tmp_path / "shards" / f"{shard:03d}.tar", "w") as archive:
            for k in range(shard, N, SHARDS):
                add(archive, f"{k:05d}.png", png(k))
                add(archive, f"{k:05d}.cls", str(k % 3).encode())
                add(archive, f"{k:05d}.json", json.dumps({"age": k / 2, "unnoise": {"seed": k}}).encode())
    for k in range(N):
        path = tmp_path / "folder" / str(k % 3) / f"{k:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(k))
    return tmp_path


def pattern(root: Path) -> str:
    return str(root / "shards" / "{000..002}.tar")


def by_number(images: Images) -> dict[str, tuple[bytes, str, str]]:
    """Pixels, class and split of each picture, by its number."""
    found = {}
    classes = images.conds["label"].classes
    for split in ("train", "val"):
        batch = images.dataset(split).batch(torch.arange(len(images.dataset(split))))
        for name, x, label in zip(images.names(split), batch["x"], batch["label"].tolist(), strict=True):
            found[name.split("/")[-1].split(":")[-1]] = (x.numpy().tobytes(), classes[label], split)
    return found


def test_shards_are_the_pictures_of_a_folder(root):
    assert by_number(Images(pattern(root))) == by_number(Images(str(root / "folder")))
    assert by_number(Images(str(root / "shards"))) == by_number(Images(pattern(root)))
    assert set(Images(pattern(root)).conds) == {"label", "age"}


def test_in_place_is_decoded_once_to_the_bit(root, monkeypatch):
    kept = Images(pattern(root))
    whole = kept.dataset()
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    expected = whole.batch(order)
    monkeypatch.setenv("UNNOISE_CACHE", str(root / "other cache"))
    monkeypatch.setenv("UNNOISE_CACHE_LIMIT", "1000")
    there = Images(pattern(root))
    batch = there.dataset().batch(order)
    assert isinstance(there.decoded.x, InPlace) and not list((root / "other cache").rglob("x.npy"))
    assert batch.keys() == expected.keys()
    assert all(torch.equal(batch[name], expected[name]) for name in batch)
    assert there.facts()["digest"] == kept.facts()["digest"]

    def never(self: Shards) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(Shards, "index", never)
    again = Images(pattern(root)).dataset().batch(order)
    assert torch.equal(again["x"], expected["x"])


def test_in_place_takes_hardly_any_disk(root, monkeypatch):
    monkeypatch.setenv("UNNOISE_CACHE", str(root / "small"))
    monkeypatch.setenv("UNNOISE_CACHE_LIMIT", "0")
    images = Images(pattern(root), size=512)
    assert images.dataset().batch(torch.tensor([3, 1]))["x"].shape == (2, 3, 512, 512)
    assert sum(path.stat().st_size for path in (root / "small").rglob("*") if path.is_file()) < 20_000


def test_names_may_be_alike_in_different_shards(tmp_path, cache):
    for shard in "ab":
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            for k in range(10):
                add(archive, f"cat{k % 2}/{k}.jpg.png", png(ord(shard) + k))
    images = Images(str(tmp_path), held_out=0.0)
    assert len(images.dataset()) == 20 and images.conds["label"].classes == ("cat0", "cat1")


def test_what_cannot_be_read_is_listed(tmp_path, cache):
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for k in range(20):
            add(archive, f"{k}.png", png(k))
        add(archive, "../slips.png", png(50))
        add(archive, "link.png", b"", type=tarfile.SYMTYPE, linkname="0.png")
        add(archive, "cut.png", png(60)[:40])
    images = Images(str(tmp_path), broken=0.2, held_out=0.0)
    assert len(images.dataset()) == 20
    assert set(images.decoded.meta["broken"]) == {"0.tar:../slips.png", "0.tar:link.png", "cut.png"}


def test_bad_shards_are_refused_in_one_line(root):
    missing = str(root / "shards" / "{000..003}.tar")
    with pytest.raises(ValueError, match=r"003\.tar: no such shard"):
        Images(missing).dataset()
    packed = root / "packed"
    packed.mkdir()
    (packed / "0.tar").write_bytes(gzip.compress((root / "shards" / "000.tar").read_bytes()))
    with pytest.raises(ValueError, match=r"0\.tar: not a plain \.tar file") as error:
        Images(str(packed)).dataset()
    assert "\n" not in str(error.value)


def test_braces():
    assert expanded("a-{08..10}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert expanded("{x,y}/{0..1}.tar") == ["x/0.tar", "x/1.tar", "y/0.tar", "y/1.tar"]


def test_tables_of_datasets(tmp_path, cache):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]), "age": datasets.Value("float32")}
    )
    rows = {"img": [{"bytes": png(k), "path": None} for k in range(N)], "label": [k % 2 for k in range(N)], "age": list(range(N))}
    table = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": table, "test": table.select(range(4))}).save_to_disk(tmp_path / "arrow")
    (tmp_path / "parquet").mkdir()
    table.to_parquet(tmp_path / "parquet" / "train.parquet")
    for name in ("arrow", "parquet"):
        images = Images(str(tmp_path / name), held_out=0.0)
        batch = images.dataset().batch(torch.arange(N))
        assert images.conds["label"].classes == ("cat", "dog") and batch["label"].tolist() == [k % 2 for k in range(N)]
        assert batch["age"].tolist() == list(range(N))
        pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(png(3))))).permute(2, 0, 1)
        assert torch.equal(((batch["x"][3] + 1) * 127.5).round().to(torch.uint8), pixels)
    assert len(Images(str(tmp_path / "arrow")).dataset("test")) == 4


def test_tables_need_their_library(tmp_path, cache, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'unnoise\[datasets\]'"):
        Images(str(tmp_path)).dataset()
