"""What the tests of pictures share: files of every kind with the pixels that they hold, and sets of small ones."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unnoise.domain.decode import header, picture
from unnoise.domain.form import Form
from unnoise.domain.save import png

RANDOM = np.random.default_rng(7)
GREY = RANDOM.integers(0, 256, (4, 6), np.uint8)
RGB = RANDOM.integers(0, 256, (4, 6, 3), np.uint8)
RGBA = RANDOM.integers(0, 256, (4, 6, 4), np.uint8)
DEEP = RANDOM.integers(0, 65536, (4, 6, 3), np.uint16)


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


def many(folder: Path, n: int, start: int = 0) -> Path:
    """n small pictures that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + n):
        pixels = np.random.default_rng(i).integers(0, 256, (3, 4, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04}.png")
    return folder


def packed(folder: Path, path: Path) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
            archive.add(folder, ".")
    return path
