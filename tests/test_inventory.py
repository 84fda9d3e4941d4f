"""What `check` finds: planted twins, leaks, conflicts, unequal classes and blank pictures, and no others."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from pictures import many
from PIL import Image, ImageEnhance

from unnoise.domain import scan
from unnoise.domain.twins import exact, near

pytestmark = pytest.mark.usefixtures("cache")


def natural(seed: int, side: int = 48) -> Image.Image:
    """A picture as smooth as photographs are: noise of which low frequencies are stronger."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) + 1 / side
    planes = [np.fft.ifft2(np.fft.fft2(random.normal(size=(side, side))) / frequency**1.7).real for _ in range(4)]
    light, *tints = (plane / plane.std() for plane in planes)
    x = np.stack([light + 0.2 * tint for tint in tints], -1)
    return Image.fromarray(np.clip(128 + 45 * x, 0, 255).astype(np.uint8))


def folder(path: Path, n: int = 60) -> Path:
    for split, start in (("train", 0), ("val", 1000)):
        for i in range(n):
            file = path / split / ("a", "b")[i % 2] / f"{i:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            natural(start + i).save(file)
    return path


def again(picture: Image.Image, way: str) -> Image.Image:
    if way == "jpeg":
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=70)
        return Image.open(out)
    if way == "smaller":
        return picture.resize((40, 40), Image.Resampling.LANCZOS).resize(picture.size, Image.Resampling.BICUBIC)
    return ImageEnhance.Brightness(picture).enhance(1.1)


def test_a_clean_set_has_no_warnings(tmp_path: Path) -> None:
    assert scan(folder(tmp_path)).warnings == []


@pytest.mark.parametrize("way", ["jpeg", "smaller", "brighter"])
def test_planted_twins_are_found_and_no_others(tmp_path: Path, way: str) -> None:
    folder(tmp_path)
    for i in (0, 4, 8):
        again(Image.open(tmp_path / "train" / "a" / f"{i:03}.png"), way).save(tmp_path / "train" / "a" / f"twin {i:03}.png")
    found = scan(tmp_path).twins
    assert sorted(found.near) == [[f"train/a/{i:03}.png", f"train/a/twin {i:03}.png"] for i in (0, 4, 8)]
    assert found.exact == found.leaks == found.conflicts == []


def test_leaks_and_conflicts_are_named(tmp_path: Path) -> None:
    folder(tmp_path)
    picture = tmp_path / "train" / "a" / "000.png"
    (tmp_path / "val" / "a" / "leak.png").write_bytes(picture.read_bytes())
    (tmp_path / "train" / "b" / "other.png").write_bytes((tmp_path / "train" / "a" / "002.png").read_bytes())
    again(Image.open(tmp_path / "train" / "b" / "001.png"), "jpeg").save(tmp_path / "val" / "b" / "near.png")
    report = scan(tmp_path)
    assert sorted(report.twins.leaks) == [["train/a/000.png", "val/a/leak.png"], ["train/b/001.png", "val/b/near.png"]]
    assert report.twins.conflicts == [["train/a/002.png", "train/b/other.png"]]
    text = str(report)
    assert "2 times pictures are in training and held-out data alike" in text and "different classes" in text
    assert json.loads(json.dumps(report.json()))["twins"]["leaks"] == report.twins.leaks


def test_unequal_and_small_classes_and_blank_pictures(tmp_path: Path) -> None:
    many(tmp_path / "many", 60)
    many(tmp_path / "few", 4, 100)
    Image.new("RGB", (4, 3), (7, 7, 7)).save(tmp_path / "many" / "blank.png")
    text = str(scan(tmp_path))
    assert "classes are unequal: few 4, many 61" in text and "1 classes of fewer than 10 pictures: few" in text
    assert "1 pictures are of one value throughout: many/blank.png" in text


def test_values_are_those_of_the_pictures(tmp_path: Path) -> None:
    for i, level in enumerate((0, 51, 255)):
        pixels = np.full((4, 4), level, np.uint8)
        pixels[0, 0] = 255 - level
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    values = scan(tmp_path).values
    assert values is not None and (values.low, values.high) == (0, 255)
    x = np.stack([np.asarray(Image.open(tmp_path / f"{i}.png")) for i in range(3)]) / 127.5 - 1
    assert values.mean == pytest.approx([x.mean()]) and values.deviation == pytest.approx([x.std()])


def test_sizes_that_differ_are_brought_to_a_proposal(tmp_path: Path) -> None:
    for i, side in enumerate((30, 45, 45, 60)):
        natural(i, side).save(tmp_path / f"{i}.png")
    assert scan(tmp_path).form["height"] == 40  # type: ignore[index]
    assert scan(tmp_path, largest=32).form["height"] == 32  # type: ignore[index]
    assert scan(tmp_path, size=24).form["height"] == 24  # type: ignore[index]


def test_nothing_whole_is_told_with_all_reasons(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"\x89PNG\r\n")
    report = scan(tmp_path)
    assert not report.usable and len(report.broken) == 3 and report.pictures == 0


def test_crowds_of_equal_looks_are_one_group() -> None:
    x = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 1, 16, 16), np.uint8), 500, 0)
    assert near(x, np.arange(500)) == [list(range(500))]
    assert exact(np.array([3, 1, 3, 2, 1, 3], np.uint64)) == [[0, 2, 5], [1, 4]]
