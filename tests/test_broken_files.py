"""What is broken is one line each, and never stops what is whole."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
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


@pytest.mark.parametrize("n", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutated_files_are_read_or_listed(tmp_path: Path, n: int) -> None:
    random, seeds = np.random.default_rng(3), [make() for make, _ in MODES.values()]
    for i in range(n):
        content = bytearray(seeds[i % len(seeds)])
        for place in random.integers(0, len(content), 1 + i % 5):
            content[place] = random.integers(256)
        (tmp_path / f"{i}.png").write_bytes(bytes(content[: len(content) - (i % 7 == 0) * 20]))
    report = scan(tmp_path)
    assert report.pictures + len(report.broken) == n
    assert all("\n" not in reason for reason in report.broken.values())
    assert str(report).count("  broken: ") == len(report.broken) and json.dumps(report.json())


def odd(folder: Path) -> set[str]:
    """More than 150 files: every kind as it should be, under a wrong suffix, and cut short; and what is no picture at all."""
    folder.mkdir()
    for k, (mode, (make, _)) in enumerate(MODES.items()):
        (folder / f"whole {k}.{mode.split(' ')[0]}").write_bytes(make())
        (folder / f"misnamed {k}.jpg").write_bytes(make())
        (folder / f"loud {k}.PNG").write_bytes(make())
        (folder / f"cut {k}.png").write_bytes(make()[: len(make()) * 6 // 10])
    texts = {"empty": b"", "text": b"hello", "html": b"<html></html>", "nul": bytes(5000), "zip": b"PK\x03\x04" + bytes(99)}
    texts |= {"riff": b"RIFF\x10\0\0\0WEBP", "gif": b"GIF89a", "bmp": b"BM" + bytes(30), "tiff": b"II*\0" + b"\xff" * 60}
    texts |= {"jpeg": b"\xff\xd8\xff\xe0" + bytes(40), "npy": b"\x93NUMPY\x01\0v\0{}", "png": b"\x89PNG\r\n\x1a\n" + bytes(60)}
    for name, content in texts.items():
        (folder / f"no {name}.png").write_bytes(content)
    os.mkfifo(folder / "no fifo.png")
    (folder / "no link.png").symlink_to("nowhere")
    return {path.name for path in folder.iterdir() if path.name.startswith(("cut", "no ")) and "two" not in path.name}


def test_odd_files_are_loaded_or_listed_in_one_line_each(tmp_path: Path) -> None:
    broken = odd(tmp_path / "odd")
    names = {path.name for path in (tmp_path / "odd").iterdir()}
    assert len(names) > 180
    command = [sys.executable, "-m", "unnoise", "check", str(tmp_path / "odd"), "--no-forecast"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr and done.stderr.count("\n") == 1
    told = [line.removeprefix("  broken: ") for line in done.stdout.splitlines() if line.startswith("  broken: ")]
    listed = [line.split(": ")[0] for line in told]
    frames = {f"cut {k}.png" for k, mode in enumerate(MODES) if "two" in mode}  # of which the first picture may be whole
    other = {k for k, mode in enumerate(MODES) if "5" in mode or "4 channels" in mode}  # cannot stand among grey and colour
    deep = {name for k in other for name in names if f" {k}." in name}
    assert len(listed) == len(set(listed)) and broken - frames <= set(listed) <= broken | deep


def test_a_missing_extra_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    (tmp_path / "deep.png").write_bytes(png(DEEP, 2, {}))
    with pytest.raises(MissingExtra, match=r"deep.png: reading 16-bit colour PNG needs imagecodecs.*unnoise\[deep\]"):
        Images(str(tmp_path)).facts()
