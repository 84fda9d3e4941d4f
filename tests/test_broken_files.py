"""What is broken is one line each, and never stops what is whole."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import DEEP, MODES, RANDOM, RGB, decoded, encoded, many, tiff
from PIL import Image

from unnoise.domain import Images, scan
from unnoise.domain.decode import MissingExtra, header, look
from unnoise.domain.save import png

pytestmark = pytest.mark.usefixtures("cache")


def test_few_broken_files_are_listed_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = many(tmp_path, 100)
    jpeg = encoded(RANDOM.integers(0, 256, (64, 64, 3), np.uint8), "JPEG")
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture\nat all")
    images = Images(str(folder), size=4)
    assert sum(images.facts()["splits"].values()) == 100 and images.facts()["broken"] == 3
    lines = sorted(record.getMessage() for record in caplog.records)
    assert [line.split(":")[0] for line in lines] == ["cut.jpg", "empty.png", "text.png"]
    assert "truncated" in lines[0] and "empty file" in lines[1] and "known kind" in lines[2]
    report = scan(folder)
    assert set(report.broken) == {"cut.jpg", "empty.png", "text.png"} and report.usable
    assert "4 x 3 100" in str(report) and "RGB 100" in str(report) and "broken: cut.jpg: " in str(report)


def test_many_broken_files_stop(tmp_path: Path) -> None:
    folder = many(tmp_path, 40)
    for i in range(6):
        (folder / f"bad{i}.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"6 of 46 pictures are broken, more than 5%.*bad0.png.*broken = 0.2"):
        Images(str(folder)).facts()
    assert Images(str(folder), broken=0.5).facts()["splits"]["train"] > 30
    with pytest.raises(ValueError, match="6 of 46"):
        Images(str(folder)).facts()
    assert not scan(folder).usable


def test_truncation_is_seen_after_the_headers(tmp_path: Path) -> None:
    jpeg = encoded(RANDOM.integers(0, 256, (64, 64, 3), np.uint8), "JPEG")
    for i in range(20):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg if i > 5 else jpeg[:-1000])
    with pytest.raises(ValueError, match="6 of 20"):
        Images(str(tmp_path)).facts()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("mode", [mode for mode in MODES if "two" not in mode])
def test_a_file_cut_short_is_never_filled_in(mode: str) -> None:
    content = MODES[mode][0]()
    with pytest.raises(Exception):  # noqa: B017 - whatever its decoder raises
        look(io.BytesIO(content[: len(content) * 6 // 10]))


def test_a_tiff_of_which_parts_are_missing_is_broken() -> None:
    content = tiff(DEEP, photometric="rgb", rowsperstrip=1)
    place = content.index(struct.pack("<HHI", 257, 4, 1))  # its height
    taller = content[: place + 8] + struct.pack("<I", 400) + content[place + 12 :]
    with pytest.raises(ValueError, match="parts are missing"):
        header(io.BytesIO(taller))


def test_nonsense_exif_does_not_break_a_picture() -> None:
    np.testing.assert_array_equal(decoded(encoded(RGB, "PNG", exif=b"Exif\0\0nonsense here")), RGB)


def test_odd_names_and_odd_files(tmp_path: Path) -> None:
    folder, good = many(tmp_path / "a", 100), encoded(RGB[:3, :4], "PNG")
    names = [
        b"caf\xe9 \xff.png",
        "日本 😀.png".encode(),
        b"new\nline.png",
        b" .png",
        b"a%s.PNG",
        b"quote'\".png",
        b"x" * 240 + b".png",
    ]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(good)
    os.mkfifo(folder / "fifo.png")
    (folder / "dangling.png").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    (folder / "linked.png").symlink_to(folder / "0000.png")
    (folder / "folder.png").mkdir()
    for left_out in (".hidden.png", "._0000.png", ".DS_Store", "notes.txt"):
        (folder / left_out).write_bytes(b"x")
    images = Images(str(folder))
    assert sum(images.facts()["splits"].values()) == 100 + len(names) + 1
    report = scan(folder)
    assert set(report.broken) == {"fifo.png", "dangling.png"}
    assert all(line.isprintable() for line in str(report).splitlines())
    str(report).encode()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "missing", "no such folder or archive"),
        (lambda p: p / "empty", "holds no pictures, but nothing at all"),
        (lambda p: p / "texts", "holds no pictures, but 2 .txt"),
        (lambda p: p / "one.png", "is a single file; expected a folder"),
        (lambda p: p / "mixed", "2 sizes.*such as size = 3"),
        (lambda p: p / "no.zip", "damaged archive"),
    ],
)
def test_what_is_no_set_is_one_line(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    for name in ("empty", "texts"):
        (tmp_path / name).mkdir()
    for name in "ab":
        (tmp_path / "texts" / f"{name}.txt").write_text("x")
    Image.fromarray(RGB).save(tmp_path / "one.png")
    Image.fromarray(RGB).save(many(tmp_path / "mixed", 3) / "other.png")
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=message) as caught:
        Images(str(make(tmp_path))).facts()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"resize": "best"},
        {"crop": "left"},
        {"size": 0},
        {"size": (1, 2, 3)},
        {"channels": 0},
        {"held_out": 1.5},
        {"background": "whit"},
    ],
    ids=str,
)
def test_options_that_cannot_be(bad: dict) -> None:
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))[:2].strip("(")):
        Images("anywhere", **bad)


def test_mutated_files_are_read_or_listed(tmp_path: Path) -> None:
    random, seeds = np.random.default_rng(3), [make() for make, _ in MODES.values()]
    for i in range(400):
        content = bytearray(seeds[i % len(seeds)])
        for place in random.integers(0, len(content), 1 + i % 5):
            content[place] = random.integers(256)
        (tmp_path / f"{i}.png").write_bytes(bytes(content[: len(content) - (i % 7 == 0) * 20]))
    report = scan(tmp_path)
    assert report.pictures + len(report.broken) == 400
    assert all("\n" not in reason for reason in report.broken.values())


def test_a_missing_extra_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    (tmp_path / "deep.png").write_bytes(png(DEEP, 2, {}))
    with pytest.raises(MissingExtra, match=r"deep.png: reading 16-bit colour PNG needs imagecodecs.*unnoise\[deep\]"):
        Images(str(tmp_path)).facts()
