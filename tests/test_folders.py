"""What folders, metadata and archives say of pictures: splits, classes, conditions."""

from __future__ import annotations

import csv
import io
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import RGB, encoded, many, packed

from unnoise.domain import Images, scan
from unnoise.domain.decode import MAX_PIXELS, header
from unnoise.domain.save import png
from unnoise.tensor import Rng

pytestmark = pytest.mark.usefixtures("cache")


def test_folders_are_classes_and_splits(tmp_path: Path) -> None:
    for split, n in (("train", 4), ("valid", 2), ("test", 3)):
        for start, name in enumerate(("cat", "dog", "eel")):
            many(tmp_path / "wrapped" / split / name, n, 10 * start)
    images = Images(str(tmp_path))
    assert images.facts()["splits"] == {"train": 12, "val": 6, "test": 9}
    assert images.conds["label"].classes == ("cat", "dog", "eel")
    assert images.dataset("test").batch(torch.arange(9))["label"].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert images.facts()["counts"]["label"] == [4, 4, 4]
    assert images.names("val")[0] == "wrapped/valid/cat/0000.png"


def test_held_out_is_by_content(tmp_path: Path) -> None:
    folder = many(tmp_path, 100)
    for i in range(100):
        (folder / f"twin {i:04}.png").write_bytes((folder / f"{i:04}.png").read_bytes())
    images = Images(str(folder), held_out=0.1)
    splits = images.facts()["splits"]
    assert splits["test"] == 0 and 4 <= splits["val"] <= 40 and sum(splits.values()) == 200
    assert {name.removeprefix("twin ") for name in images.names("val")}.isdisjoint(
        name.removeprefix("twin ") for name in images.names()
    )
    with pytest.raises(ValueError, match="no 'test' part; it has train, val"):
        images.dataset("test")


@pytest.mark.parametrize(("n", "val"), [(1, 0), (19, 0), (20, 1), (25, 1)])
def test_at_least_one_of_twenty_is_held_out(n: int, val: int, tmp_path: Path) -> None:
    assert Images(str(many(tmp_path, n)), held_out=1e-9).facts()["splits"]["val"] == val


def test_metadata_of_both_kinds(tmp_path: Path) -> None:
    many(tmp_path / "cat", 6)
    many(tmp_path / "dog", 6, 6)
    names = [f"cat/{i:04}.png" for i in range(6)] + [f"dog/{i:04}.png" for i in range(6, 12)]
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "age", "colour", "title"])
        rows.writerows(
            [name, "" if i == 3 else i / 2, "" if i == 4 else ["red", "blue"][i % 2], f"No {i}"] for i, name in enumerate(names)
        )
    lines = [{"file_name": f"{i:04}.png", "label": "small", "seen": True, "at": [i, 1]} for i in range(5)]
    lines[2] |= {"label": "big", "seen": False, "at": None}
    (tmp_path / "cat" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    images = Images(str(tmp_path))
    batch = images.dataset().batch(torch.arange(12))
    assert {name: c.classes for name, c in images.conds.items() if c.classes} == {
        "folder": ("cat", "dog"), "colour": ("blue", "red"), "label": ("big", "small"), "seen": ("false", "true"),
    }  # fmt: skip
    assert batch["folder"].tolist() == [0] * 6 + [1] * 6
    assert batch["colour"].tolist() == [1, 0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 0]
    assert batch["label"].tolist() == [1, 1, 0, 1, 1] + [2] * 7
    assert batch["seen"].tolist() == [1, 1, 0, 1, 1] + [2] * 7
    torch.testing.assert_close(batch["age"][:5], torch.tensor([0, 0.5, 1, torch.nan, 2]), equal_nan=True)
    assert images.conds["at"].shape == (2,) and batch["at"][1].tolist() == [1, 1] and batch["at"][2].isnan().all()
    assert "title" not in images.conds and any("'title'" in note for note in images.facts()["notes"])
    assert images.facts()["spread"]["age"]["quantiles"][0] == 0
    assert set(Images(str(tmp_path), conditions=("age",)).conds) == {"age"}
    drawn = images.draw(Rng(torch.arange(50)))
    assert set(drawn) == set(images.conds)
    pairs = set(zip(batch["folder"].tolist(), batch["colour"].tolist(), strict=True))
    assert set(zip(drawn["folder"].tolist(), drawn["colour"].tolist(), strict=True)) <= pairs
    with pytest.raises(ValueError, match="no condition 'agee'"):
        Images(str(tmp_path), conditions=("agee",)).facts()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.csv", "name,age\na.png,1", "row 1: expected a column file_name"),
        ("metadata.jsonl", '{"file_name": "0000.png"', "metadata.jsonl: Expecting"),
        ("metadata.jsonl", "[1]", "row 1"),
        ("metadata.csv", "file_name,age\nno.png,1", "none of its 1 file names is a picture"),
        ("metadata.csv", "file_name,x\n0000.png,1", "'x'"),
    ],
)
def test_metadata_refused(name: str, content: str, message: str, tmp_path: Path) -> None:
    (many(tmp_path, 3) / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        Images(str(tmp_path)).facts()


# Archives


@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_an_archive_is_its_folder(kind: str, tmp_path: Path) -> None:
    many(tmp_path / "data" / "cat", 15)
    many(tmp_path / "data" / "dog", 15, 20)
    (tmp_path / "data" / "metadata.csv").write_text("file_name,age\ncat/0003.png,3\ndog/0020.png,4\n")
    folder, archive = Images(str(tmp_path / "data")), Images(str(packed(tmp_path / "data", tmp_path / f"set{kind}")))
    for split in ("train", "val"):
        indices = torch.arange(len(folder.dataset(split)))
        torch.testing.assert_close(folder.dataset(split).batch(indices), archive.dataset(split).batch(indices), equal_nan=True)
    assert folder.facts() == archive.facts()


HOSTILE = ["/etc/a.png", "../a.png", "x/../../a.png", "..\\a.png", "C:/a.png", "//host/a.png", "x//a.png"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_hostile_members_are_listed_and_never_written(kind: str, tmp_path: Path) -> None:
    good, path = encoded(RGB, "PNG"), tmp_path / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name in [*HOSTILE, *(f"{i}.png" for i in range(200))]:
                zipped.writestr(name, good)
            link = zipfile.ZipInfo("link.png")
            link.external_attr = 0o120777 << 16
            zipped.writestr(link, "/etc/passwd")
    else:
        with tarfile.open(path, "w") as tarred:
            for name in [*HOSTILE, *(f"{i}.png" for i in range(200)), "0.png"]:
                member = tarfile.TarInfo(name)
                member.size = len(good)
                tarred.addfile(member, io.BytesIO(good))
            for kind_, name in (
                (tarfile.SYMTYPE, "link.png"),
                (tarfile.LNKTYPE, "hard.png"),
                (tarfile.FIFOTYPE, "fifo.png"),
                (tarfile.CHRTYPE, "dev.png"),
            ):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind_, "/etc/passwd"
                tarred.addfile(member)
    report = scan(path)
    assert report.pictures == 200
    assert len(report.broken) == len(HOSTILE) + (1 if kind == "zip" else 5)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unnoise.domain.archive.MAX_TOTAL", 10**6)
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.bmp", b"\0" * 10**7)
    with pytest.raises(ValueError, match="refused as a bomb"):
        scan(path)
    wide = struct.pack(">IIBBBBB", 12_000, 12_000, 1, 0, 0, 0, 0)
    plain = png(np.zeros((1, 1, 1), np.uint8), 0, {})
    bomb = plain[:16] + wide + struct.pack(">I", zlib.crc32(b"IHDR" + wide)) + plain[33:]
    with pytest.raises(ValueError, match="more than 64 million"):
        header(io.BytesIO(bomb))
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "|u1", "fortran_order": False, "shape": (MAX_PIXELS, 2)})
    array.seek(0)
    with pytest.raises(ValueError, match="more than 64 million"):
        header(array)


@pytest.mark.parametrize("kind", [".tar.gz", ".zip", ".tar"])
def test_a_damaged_archive_is_one_line(kind: str, tmp_path: Path) -> None:
    whole = packed(many(tmp_path / "data", 30), tmp_path / f"set{kind}")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ValueError, match="a damaged archive"):
        Images(str(whole)).facts()


SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "mnist-png.tar.gz"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED.name} is not beside the repository")
def test_mnist() -> None:
    images = Images(str(SHARED))
    assert images.shape == (1, 28, 28) and images.facts()["splits"]["test"] == 10_000
    assert len(images.conds["label"].classes) == 10
