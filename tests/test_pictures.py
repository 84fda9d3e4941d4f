"""Pictures of every kind into the tensors they must become, and samples out as the pictures came in."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from odd_kinds import TURNED
from pictures import ALIKE, DEEP, DEEP_RGBA, FIVE, FLOATS, GREY, MODES, RGB, RGBA, decoded, encoded, many, over, tiff
from PIL import Image

from unnoise.domain import Images
from unnoise.domain.base import from_levels, to_levels
from unnoise.domain.decode import header
from unnoise.domain.save import png
from unnoise.tensor import Rng

pytestmark = pytest.mark.usefixtures("cache")


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
