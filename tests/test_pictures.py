"""Pictures of every kind into the tensors they must become, and what is broken into one line each."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.domain import Images, scan
from unnoise.domain.base import from_levels, to_levels
from unnoise.domain.decode import MAX_PIXELS, MissingExtra, header, look, picture
from unnoise.domain.form import Form
from unnoise.domain.save import png
from unnoise.tensor import Rng

RANDOM = np.random.default_rng(7)
GREY = RANDOM.integers(0, 256, (4, 6), np.uint8)
RGB = RANDOM.integers(0, 256, (4, 6, 3), np.uint8)
RGBA = RANDOM.integers(0, 256, (4, 6, 4), np.uint8)
DEEP = RANDOM.integers(0, 65536, (4, 6, 3), np.uint16)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("UNNOISE_CACHE", str(folder))
    return folder


def encoded(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def tiff(array: np.ndarray, **options: object) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def palette(transparent: bool = False) -> bytes:
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) % 4).convert("L")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    return encoded(image, "PNG", **({"transparency": 0} if transparent else {}))


def frames(kind: str) -> bytes:
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    return encoded(first, kind, save_all=True, append_images=[second], **({"lossless": True} if kind == "WEBP" else {}))


def over(pixels: np.ndarray, background: float, top: int) -> np.ndarray:
    share = pixels[..., -1:] / top
    return np.rint(pixels[..., :-1] * share + background * top * (1 - share)).astype(pixels.dtype)


PALETTE = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]], np.uint8)[np.arange(24).reshape(4, 6) % 4]
BITS = np.where(GREY > 127, 255, 0).astype(np.uint8)
FLOATS = RANDOM.random((4, 6)).astype(np.float32)
FIVE = RANDOM.integers(0, 65536, (8, 6, 5), np.uint16)
LA = RGBA[..., :2]
DEEP_RGBA = np.concatenate([DEEP, DEEP[..., :1]], -1)
ALIKE = np.stack([GREY] * 3, -1)

# what a file holds -> its bytes, and the pixels that must come out, in their own depth and channels
MODES: dict[str, tuple[Callable[[], bytes], np.ndarray]] = {
    "png grey": (lambda: encoded(GREY, "PNG"), GREY),
    "png 1 bit": (lambda: encoded(Image.fromarray(BITS).convert("1"), "PNG"), BITS),
    "png grey alpha": (lambda: encoded(Image.fromarray(LA, "LA"), "PNG"), over(LA, 1, 255)[..., 0]),
    "png grey, one level transparent": (
        lambda: encoded(GREY, "PNG", transparency=int(GREY[0, 0])),
        np.where(GREY[0, 0] == GREY, 255, GREY).astype(np.uint8),
    ),
    "png rgb": (lambda: encoded(RGB, "PNG"), RGB),
    "png rgba": (lambda: encoded(RGBA, "PNG"), over(RGBA, 1, 255)),
    "png palette": (palette, PALETTE),
    "png palette, one colour transparent": (
        lambda: palette(True),
        np.where((PALETTE == [10, 20, 30]).all(-1, keepdims=True), 255, PALETTE).astype(np.uint8),
    ),
    "png 16-bit grey": (lambda: encoded(DEEP[..., 0], "PNG"), DEEP[..., 0]),
    "png 16-bit rgb": (lambda: png(DEEP, 2, {}), DEEP),
    "png 16-bit rgba": (lambda: png(DEEP_RGBA, 6, {}), over(DEEP_RGBA, 1, 65535)),
    "png 16-bit grey alpha": (lambda: png(DEEP[..., :2], 4, {}), over(DEEP[..., :2], 1, 65535)[..., 0]),
    "jpeg grey": (lambda: encoded(np.full((4, 6), 77, np.uint8), "JPEG", quality=100), np.full((4, 6), 77, np.uint8)),
    "jpeg rgb": (lambda: encoded(np.full((4, 6, 3), 77, np.uint8), "JPEG", quality=100), np.full((4, 6, 3), 77, np.uint8)),
    "jpeg cmyk": (
        lambda: encoded(Image.new("CMYK", (6, 4), (0, 0, 0, 55)), "JPEG", quality=100),
        np.full((4, 6, 3), 200, np.uint8),
    ),
    "webp lossless": (lambda: encoded(RGB, "WEBP", lossless=True), RGB),
    "webp of two frames": (lambda: frames("WEBP"), RGB),
    "png of two frames": (lambda: frames("PNG"), RGB),
    "tiff of two pages": (lambda: frames("TIFF"), RGB),
    "bmp": (lambda: encoded(RGB, "BMP"), RGB),
    "gif": (lambda: encoded(GREY, "GIF"), ALIKE),
    "ppm": (lambda: encoded(RGB, "PPM"), RGB),
    "tiff rgb": (lambda: encoded(RGB, "TIFF"), RGB),
    "tiff rgba, compressed": (lambda: encoded(RGBA, "TIFF", compression="tiff_lzw"), over(RGBA, 1, 255)),
    "tiff cmyk": (lambda: encoded(Image.new("CMYK", (6, 4), (0, 0, 0, 55)), "TIFF"), np.full((4, 6, 3), 200, np.uint8)),
    "tiff 16-bit grey": (lambda: encoded(DEEP[..., 0], "TIFF"), DEEP[..., 0]),
    "tiff 16-bit grey, white is 0": (lambda: tiff(65535 - DEEP[..., 0], photometric="miniswhite"), DEEP[..., 0]),
    "tiff 16-bit rgb": (lambda: tiff(DEEP, photometric="rgb"), DEEP),
    "tiff 16-bit rgb, compressed": (lambda: tiff(DEEP, photometric="rgb", compression="zlib"), DEEP),
    "tiff 16-bit rgb, planes apart": (
        lambda: tiff(DEEP.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        DEEP,
    ),
    "tiff 16-bit rgba": (
        lambda: tiff(DEEP_RGBA, photometric="rgb", extrasamples=["unassalpha"]),
        over(DEEP_RGBA, 1, 65535),
    ),
    "tiff of 5 channels": (lambda: tiff(FIVE, photometric="minisblack", planarconfig="contig"), FIVE),
    "tiff float": (lambda: encoded(FLOATS, "TIFF"), FLOATS),
    "tiff double": (lambda: tiff(FLOATS.astype(np.float64)), FLOATS),
    "tiff 32-bit integers": (lambda: encoded(DEEP[..., 0].astype(np.int32), "TIFF"), DEEP[..., 0].astype(np.float32)),
    "npy grey": (lambda: npy(GREY), GREY),
    "npy (H, W, C)": (lambda: npy(RGB), RGB),
    "npy (C, H, W)": (lambda: npy(RGB.transpose(2, 0, 1)), RGB),
    "npy 4 channels, none of them alpha": (lambda: npy(RGBA), RGBA),
    "npy 5 deep channels, Fortran order": (lambda: npy(np.asfortranarray(FIVE)), FIVE),
    "npy float": (lambda: npy(FLOATS), FLOATS),
    "npy double": (lambda: npy(FLOATS.astype(np.float64)), FLOATS),
    "npy bool": (lambda: npy(BITS > 0), BITS),
    "npy integers": (lambda: npy(GREY.astype(np.int64)), GREY.astype(np.float32)),
}


def decoded(content: bytes, **options: object) -> np.ndarray:
    """The pixels (H, W, C) of a file in its own channels and depth."""
    head = header(io.BytesIO(content))
    form = Form(**{"height": head.height, "width": head.width, "channels": head.channels, "depth": head.depth} | options)
    return picture(io.BytesIO(content), form).transpose(1, 2, 0)


@pytest.mark.parametrize("mode", MODES)
def test_mode(mode: str) -> None:
    content, expected = MODES[mode][0](), MODES[mode][1]
    expected = expected.reshape(*expected.shape[:2], -1)
    pixels = decoded(content)
    assert pixels.dtype == expected.dtype
    lossy = 1 if "jpeg" in mode or "alpha" in mode or "rgba" in mode else 0
    np.testing.assert_allclose(pixels.astype(np.float64), expected.astype(np.float64), atol=lossy, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_mode_through_a_folder(mode: str, tmp_path: Path) -> None:
    content = MODES[mode][0]()
    (tmp_path / f"one.{mode.split(' ')[0]}").write_bytes(content)
    images = Images(str(tmp_path))
    levels = to_levels(images.dataset().batch(torch.tensor([0]))["x"], images.span, images.facts()["depth"])[0]
    np.testing.assert_allclose(levels.transpose(1, 2, 0), decoded(content), rtol=1e-6)


def test_alpha_is_kept_where_4_channels_are_asked_for() -> None:
    np.testing.assert_array_equal(decoded(encoded(RGBA, "PNG"), channels=4, alpha=True), RGBA)
    opaque = decoded(encoded(RGB, "PNG"), channels=4, alpha=True)
    np.testing.assert_array_equal(opaque, np.concatenate([RGB, np.full((4, 6, 1), 255, np.uint8)], -1))


@pytest.mark.parametrize(("name", "level"), [("black", 0), ("#808080", 128 / 255)])
def test_background(name: str, level: float) -> None:
    np.testing.assert_allclose(decoded(encoded(RGBA, "PNG"), background=name), over(RGBA, level, 255), atol=1)


def test_colour_to_grey_is_luminance() -> None:
    np.testing.assert_allclose(
        decoded(encoded(RGB, "PNG"), channels=1)[..., 0], np.asarray(Image.fromarray(RGB).convert("L")), atol=1
    )


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, -1),
}  # how a camera lays down an upright picture


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "deep PNG", "deep TIFF"])
def test_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    if kind == "deep TIFF":
        content = tiff(TURNED[orientation](DEEP), photometric="rgb", extratags=[(0x0112, 3, 1, orientation, True)])
    elif kind == "deep PNG":
        plain, body = png(np.ascontiguousarray(TURNED[orientation](DEEP)), 2, {}), exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
        content = plain[:33] + chunk + plain[33:]
    else:
        content = encoded(np.ascontiguousarray(TURNED[orientation](RGB)), kind, exif=exif, **lossless)
    head = header(io.BytesIO(content))
    assert (head.height, head.width) == (4, 6)
    expected = DEEP if "deep" in kind else RGB
    np.testing.assert_allclose(decoded(content).astype(float), expected, atol=60 if kind == "JPEG" else 0)


@pytest.mark.parametrize(("depth", "top"), [("uint8", 255), ("uint16", 65535)])
def test_every_level_comes_back(depth: str, top: int) -> None:
    levels = np.arange(top + 1).astype(depth)
    x = from_levels(levels, (0, top))
    assert x[0] == -1 and x[-1] == 1 and x.dtype == torch.float32
    np.testing.assert_array_equal(to_levels(x, (0, top), depth), levels)
    assert to_levels(torch.tensor([-7.0, 7.0]), (0, top), depth).tolist() == [0, top]


def test_mixed_depths_and_channels_are_brought_together(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png(DEEP, 2, {}))
    images = Images(str(tmp_path))
    assert images.shape == (3, 4, 6) and images.facts()["depth"] == "uint16"
    x = images.dataset().batch(torch.tensor([0, 1]))["x"]
    torch.testing.assert_close(x[0], from_levels(ALIKE, (0, 255)).permute(2, 0, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(x[1], from_levels(DEEP, (0, 65535)).permute(2, 0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("array", "span"),
    [(FLOATS, (0, 1)), (FLOATS * 2 - 1, (-1, 1)), (FLOATS * 100 - 20, None), (np.full((4, 6), 7.0, np.float32), (7, 8))],
)
def test_range_of_floats(array: np.ndarray, span: tuple[float, float] | None, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    images = Images(str(tmp_path))
    assert images.span == pytest.approx(span or (float(array.min()), float(array.max())))
    x = images.dataset().batch(torch.tensor([0]))["x"]
    assert x.abs().max() <= 1
    path = images.save(x, tmp_path / "out", ["s"])[0]
    assert path.suffix == ".npy"
    np.testing.assert_allclose(np.load(path), array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pixels", [GREY, RGB, RGBA, DEEP[..., 0], DEEP, DEEP_RGBA, FIVE], ids=lambda a: f"{a.dtype}{a.shape}")
def test_samples_have_the_depth_and_channels_that_came_in(pixels: np.ndarray, tmp_path: Path) -> None:
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    source = tmp_path / "in"
    source.mkdir()
    if bands == 5:
        np.save(source / "a.npy", pixels)
    else:
        (source / "a.png").write_bytes(png(pixels.reshape(4, 6, -1), {1: 0, 3: 2, 4: 6}[bands], {}))
    images = Images(str(source), channels=4 if bands == 4 else None)
    x = images.dataset().batch(torch.tensor([0]))["x"]
    path = images.save(x, tmp_path / "out", ["s"], [{"seed": "1"}])[0]
    if bands == 5:
        np.testing.assert_array_equal(np.load(path), pixels)
        assert json.loads(path.with_suffix(".json").read_text()) == {"seed": "1"}
    else:
        np.testing.assert_array_equal(decoded(path.read_bytes(), channels=bands, alpha=bands == 4).reshape(pixels.shape), pixels)
    assert len(images.to_pil(x)) == 1


def test_metadata_is_in_the_png(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    images = Images(str(tmp_path))
    text = {"seed": "12", "Titel": "Äpfel, 林檎", "recipe": "[a]\nb = 1"}
    once, twice = (images.save(torch.zeros(1, 3, 4, 6), tmp_path / out, ["s"], [text])[0] for out in ("1", "2"))
    assert Image.open(once).text == text
    assert once.read_bytes() == twice.read_bytes()
    with pytest.raises(ValueError, match="metadata key ''"):
        images.save(torch.zeros(1, 3, 4, 6), tmp_path, ["s"], [{"": "x"}])


@pytest.mark.parametrize(
    ("x", "name", "message"),
    [
        (torch.zeros(1, 3, 5, 5), "s", "expected"),
        (torch.full((1, 3, 4, 6), torch.nan), "s", "not finite"),
        (torch.zeros(1, 3, 4, 6), "../s", "no file name"),
        (torch.zeros(2, 3, 4, 6), "s", "one name"),
    ],
)
def test_save_refuses(x: torch.Tensor, name: str, message: str, tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        Images(str(tmp_path)).save(x, tmp_path / "out", [name])


@pytest.mark.parametrize("method", ["lanczos", "bicubic", "bilinear", "area", "nearest"])
def test_resize_keeps_proportions_or_stretches(method: str, tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (8, 1))  # 8 high, 16 wide
    Image.fromarray(ramp).save(tmp_path / "a.png")
    cut = Images(str(tmp_path), size=4, resize=method).dataset().batch(torch.tensor([0]))["x"][0, 0]
    whole = Images(str(tmp_path), size=(4, 8), resize=method).dataset().batch(torch.tensor([0]))["x"][0, 0]
    stretched = Images(str(tmp_path), size=4, resize=method, crop="none").dataset().batch(torch.tensor([0]))["x"][0, 0]
    assert cut.shape == (4, 4) and whole.shape == (4, 8)
    torch.testing.assert_close(cut, whole[:, 2:6], atol=0.05, rtol=0)
    assert stretched[0, 0] < whole[0, 2] - 0.2 and stretched[0, -1] > whole[0, 5] + 0.2


def test_deep_pictures_are_resized_as_shallow_ones_are() -> None:
    for pixels, options in ((RGB, {}), (RGBA, {"channels": 4, "alpha": True})):
        shallow = decoded(encoded(pixels, "PNG"), height=3, width=3, **options)
        deep = decoded(png(pixels.astype(np.uint16) * 257, 2 if pixels is RGB else 6, {}), height=3, width=3, **options)
        opaque = shallow[..., -1:] > 128 if pixels is RGBA else np.array(True)
        np.testing.assert_allclose(np.where(opaque, deep / 257, 0), np.where(opaque, shallow, 0), atol=3)


def test_flip_is_keyed_and_only_for_training(tmp_path: Path) -> None:
    folder = many(tmp_path / "a", 30)
    images = Images(str(folder), flip=True)
    train, rng = images.dataset(), Rng(0, torch.arange(20))
    plain, mirrored = train.batch(torch.arange(20))["x"], train.batch(torch.arange(20), rng)["x"]
    same = [torch.equal(a, b) for a, b in zip(plain, mirrored, strict=True)]
    assert 3 < sum(same) < 17
    torch.testing.assert_close(mirrored, torch.where(torch.tensor(same)[:, None, None, None], plain, plain.flip(-1)))
    assert not images.dataset("val").flip


def many(folder: Path, n: int, start: int = 0) -> Path:
    """n small pictures that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + n):
        pixels = np.random.default_rng(i).integers(0, 256, (3, 4, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04}.png")
    return folder


# Splits and conditions


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


def packed(folder: Path, path: Path) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
            archive.add(folder, ".")
    return path


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


# What is broken


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


# The cache


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


SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "mnist-png.tar.gz"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED.name} is not beside the repository")
def test_mnist() -> None:
    images = Images(str(SHARED))
    assert images.shape == (1, 28, 28) and images.facts()["splits"]["test"] == 10_000
    assert len(images.conds["label"].classes) == 10
