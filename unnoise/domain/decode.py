"""One file of a picture -> an array. Every mode has one stated meaning; what has none is refused.

| in the file | becomes |
|---|---|
| 1 bit, grey | 1 channel; black 0, white the top level |
| palette, CMYK, YCbCr, RGB | 3 channels |
| alpha, or a transparent colour | composited on the background, or kept as a 4th channel where 4 are asked for |
| 8 bits; 16 bits; floats and other integers | uint8; uint16; float32, each as stored |
| an array (H, W), (H, W, C) or (C, H, W) | C channels: the shorter of the first and last axis, the last if equal |
| several frames | the first |
| an EXIF orientation | applied |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from unnoise.domain.chunks import Chunks, check
from unnoise.domain.form import TOP, Form, demand_finite, store, unmultiply

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 64_000_000
MAX_VALUES = 4 * MAX_PIXELS  # pixels times channels
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
ORIENTATION = 0x0112
PNG_BANDS = {2: 3, 4: 2, 6: 4}  # of its colour types: RGB, grey and alpha, RGBA
MODES = {"1": 1, "L": 1, "LA": 1, "La": 1, "I": 1, "F": 1} | dict.fromkeys(
    ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"), 3
)


class MissingExtra(ValueError):
    """The file is fine; what would read it is not installed."""


class Header(NamedTuple):
    """What a file says of itself, before its pixels are read; `channels` without alpha."""

    height: int
    width: int
    channels: int
    alpha: bool
    depth: str
    mode: str


Read = Callable[[], np.ndarray]  # pixels (H, W, C), alpha last, turned upright


def header(file: BinaryIO) -> Header:
    """What the file says of itself. ValueError (or what its decoder raises) if that is nonsense or above 64 million pixels."""
    return _describe(file)[0]


def look(file: BinaryIO) -> Header:
    """The header of a file all of whose pixels can be read."""
    head, read = _describe(file)
    demand_finite(read())
    return head


def picture(file: BinaryIO, form: Form) -> np.ndarray:
    """The pixels of the file in that form, (C, H, W)."""
    head, read = _describe(file)
    return form(read(), head.alpha)


def _describe(file: BinaryIO) -> tuple[Header, Read]:
    magic = file.read(26)
    file.seek(0)
    if not magic:
        raise ValueError("empty file")
    if magic.startswith(b"\x93NUMPY"):
        return _numpy(file)
    if magic[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(file)
    if magic.startswith(b"\x89PNG") and magic[24:25] == b"\x10" and magic[25:26] != b"\0":  # 16 bits and not plain grey
        return _deep_png(file, PNG_BANDS.get(magic[25], 0))
    image = _open(file)
    how = image.tile[0].args if image.format == "PPM" and image.mode == "RGB" else ""  # type: ignore[attr-defined]
    return _deep_anymap(image, how[1]) if isinstance(how, tuple) and how[1] > 255 else _pillow(image)


def _open(file: BinaryIO) -> Image:
    from PIL import Image

    image = Image.open(file, formats=FORMATS)  # reads the header only
    _cap(image.height, image.width, 1)
    return image


def _pillow(image: Image) -> tuple[Header, Read]:
    mode, wide = image.mode, image.mode.startswith("I;16")
    if mode not in MODES and not wide:
        raise ValueError(f"a picture of mode {mode!r}, which has no one meaning here")
    alpha = mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    colour = MODES.get(mode, 1)
    wide = wide or (mode == "I" and image.format in ("PNG", "PPM"))
    depth = "uint16" if wide else "float32" if mode in "IF" else "uint8"
    file, level = image.fp, _clear_level(image)  # type: ignore[attr-defined]

    def read() -> np.ndarray:
        image.load()
        bare = alpha and level is None
        target = "RGBA"[: 3 + bare] if colour == 3 else "LA"[: 1 + bare]
        converted = image if depth != "uint8" or mode == target else image.convert(target)
        pixels = np.asarray(converted).astype(depth, copy=False)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if image.format == "PNG":
            check(_whole(file), pixels)
        if level is not None:
            pixels = np.concatenate([pixels, (pixels != level).astype(depth) * pixels.dtype.type(TOP[depth])], -1)
        return _upright(pixels, _orientation(image))  # TIFF: Pillow has turned it, and says 1

    return Header(*_size(image), colour, alpha, depth, mode if mode != "I" else f"I of {image.format}"), read


def _clear_level(image: Image) -> int | None:
    """The level of grey that is transparent, if there is one; Pillow scales the pixels of 2 and 4 bits, and not this."""
    level = image.info.get("transparency")
    if not isinstance(level, int) or image.mode not in ("1", "L", "I;16", "I;16B"):
        return None
    return level * {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)  # type: ignore[attr-defined]


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _size(image: Image) -> tuple[int, int]:
    """Height and width when upright, without reading the pixels (which Pillow does to look for the EXIF of a PNG)."""
    unknown = image.format in ("PNG", "TIFF") and "exif" not in image.info
    return (image.height, image.width) if unknown or _orientation(image) <= 4 else (image.width, image.height)


def _orientation(image: Image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # EXIF that is nonsense does not make the picture so
        return 1


def _deep_png(file: BinaryIO, bands: int) -> tuple[Header, Read]:
    """16 bits of RGB, RGBA or grey with alpha: Pillow would silently keep 8."""
    image = _open(file)
    alpha = bands in (2, 4) or "transparency" in image.info
    decode = _extra("imagecodecs", "16-bit colour PNG").png_decode

    def read() -> np.ndarray:
        image.load()  # finds what is broken, and an orientation that stands after the pixels
        content = _whole(file)
        chunks = Chunks.of(content)
        if chunks.interlaced:  # libpng warns of each on standard error
            pixels = np.empty((image.height, image.width, bands + (bands == 3 and alpha)), np.uint16)
            for down, right, part in chunks.apart():
                pixels[down, right] = decode(part)
        else:
            pixels = decode(content).astype(np.uint16, copy=False)
        return _upright(pixels, _orientation(image))

    return Header(*_size(image), 3 if bands > 2 else 1, alpha, "uint16", f"PNG {bands} x uint16"), read


def _deep_anymap(image: Image, top: int) -> tuple[Header, Read]:
    """16 bits of RGB, of which Pillow would keep 8; `top` is white."""
    file, tile = image.fp, image.tile[0]  # type: ignore[attr-defined]
    shape = image.height, image.width, 3

    def read() -> np.ndarray:
        file.seek(tile.offset)
        content, count = file.read(), math.prod(shape)
        values = np.frombuffer(content[: 2 * count], ">u2") if tile.codec_name == "ppm" else _numbers(content)[:count]
        if len(values) < count or values.max() > top:
            raise ValueError("a PPM of which pixels are missing, or above its top level")
        return store(values.reshape(shape) * (TOP["uint16"] / top), "uint16")

    return Header(*shape, False, "uint16", "PPM 3 x uint16"), read


def _numbers(words: bytes) -> np.ndarray:
    return np.array([int(word) for word in words.split()], np.int64)


def _tiff(file: BinaryIO) -> tuple[Header, Read]:
    """Pillow where it keeps every bit and channel, tifffile elsewhere."""
    from PIL import UnidentifiedImageError

    try:
        image = _open(file)
    except (UnidentifiedImageError, SyntaxError):
        return _deep_tiff(file)
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, samples, white_is_zero = tags.get(258, (1,)), tags.get(277, 1), tags.get(262) == 0
    whole = samples == len(image.getbands()) or image.mode == "P"
    if not whole or (max(bits) > 8 and (image.mode not in ("I;16", "I;16B", "F") or white_is_zero)):
        return _deep_tiff(file)
    head, read = _pillow(image)
    height, width = (tags[256], tags[257]) if tags.get(ORIENTATION, 1) > 4 else (tags[257], tags[256])
    return head._replace(height=height, width=width), read


def _deep_tiff(file: BinaryIO) -> tuple[Header, Read]:
    tifffile = _extra("tifffile", "this TIFF (deep, of many channels, or unusual)")
    file.seek(0)
    page = tifffile.TiffFile(file).pages[0]
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"a TIFF of axes {page.axes}; expected a plane of pixels")
    planar, extra = page.axes == "SYX", tuple(page.extrasamples or ())
    height, width = page.shape[-2:] if planar else page.shape[:2]
    bands = page.samplesperpixel
    _cap(height, width, bands)
    offsets, counts = page.dataoffsets, page.databytecounts
    if not len(offsets) == len(counts) == math.prod(page.chunked) or min(counts) < 1:
        raise ValueError("a TIFF of which parts are missing")  # tifffile would fill them with zeros
    alpha = len(extra) == 1 and int(extra[0]) in (1, 2)
    orientation = page.tags.valueof(ORIENTATION, default=1)
    depth = _depth_of(page.dtype)

    def read() -> np.ndarray:
        _extra("imagecodecs", "a compressed TIFF") if page.compression != 1 else None
        pixels = page.asarray()
        pixels = pixels.transpose(1, 2, 0) if planar else pixels.reshape(height, width, -1)
        pixels = _as_depth(pixels, depth)
        if page.photometric == 0 and depth != "float32":  # white is zero
            pixels = TOP[depth] - pixels
        if alpha and int(extra[0]) == 1:  # premultiplied
            pixels = store(unmultiply(pixels.astype(np.float64), TOP[depth]), depth)
        return _upright(pixels, orientation)

    size = (width, height) if orientation > 4 else (height, width)
    return Header(*size, bands - alpha, alpha, depth, f"TIFF {bands} x {page.dtype}"), read


def _numpy(file: BinaryIO) -> tuple[Header, Read]:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    if len(shape) not in (2, 3) or not math.prod(shape) or dtype.kind not in "biuf":
        raise ValueError(f"an array of shape {shape} and type {dtype}; expected numbers, (H, W), (H, W, C) or (C, H, W)")
    first = len(shape) == 3 and shape[0] < shape[2]
    height, width = shape[1:] if first else shape[:2]
    bands = 1 if len(shape) == 2 else shape[0] if first else shape[2]
    _cap(height, width, bands)
    depth = _depth_of(dtype)

    def read() -> np.ndarray:
        file.seek(0)
        pixels = np.load(file, allow_pickle=False)
        return _as_depth(pixels.transpose(1, 2, 0) if first else pixels.reshape(height, width, bands), depth)

    return Header(height, width, bands, False, depth, f"array {bands} x {dtype}"), read


def _depth_of(dtype: np.dtype) -> str:
    if dtype.kind not in "biuf":
        raise ValueError(f"numbers of type {dtype}; expected integers or floats")
    return "uint8" if dtype.kind == "b" else dtype.name if dtype.name in ("uint8", "uint16") else "float32"


def _as_depth(pixels: np.ndarray, depth: str) -> np.ndarray:
    return pixels.astype(depth) * (255 if pixels.dtype.kind == "b" else 1)


def _cap(height: int, width: int, channels: int) -> None:
    if height * width > MAX_PIXELS or height * width * channels > MAX_VALUES:
        raise ValueError(f"{width} x {height} pixels of {channels} channels: more than {MAX_PIXELS // 10**6} million")


def _extra(name: str, what: str):  # type: ignore[no-untyped-def]
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(f"reading {what} needs {name}; install it with: pip install 'unnoise[deep]'") from error


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation, 1 to 8."""
    turned = pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels
    mirrored = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    down, right = mirrored.get(orientation, (1, 1))
    return turned[::down, ::right]
