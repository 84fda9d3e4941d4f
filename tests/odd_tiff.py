"""TIFF files as scanners, microscopes and satellites write them, or break them, with what must come of each."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import tifffile
from odd_kinds import ALPHA, BITS, DEEP, FAR, FLOATS, GREY, NEAR, SHARP, SMOOTH, TURNED, exif
from odd_png import Odd
from pictures import encoded as saved
from pictures import over
from PIL import Image

TAGS = {"width": 256, "height": 257, "strips": 273, "counts": 279}


def written(array: np.ndarray, photometric: str = "minisblack", **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, np.ascontiguousarray(array), photometric=photometric, **options)
    return out.getvalue()


def set_tag(content: bytes, tag: int, value: int) -> bytes:
    """The same little-endian file with another value of one tag."""
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    for k in range(count):
        place = at + 2 + 12 * k
        if struct.unpack_from("<H", content, place)[0] == tag:
            return content[: place + 8] + struct.pack("<I", value) + content[place + 12 :]
    raise AssertionError(tag)


def plain() -> dict[str, tuple[bytes, np.ndarray, float]]:
    """Content, pixels, and how far they may lie apart."""
    rgb, cmyk = {"photometric": "rgb"}, np.concatenate([255 - SHARP, 0 * SHARP[..., :1]], -1)
    few = Image.fromarray(SHARP).quantize(16)
    wide = np.concatenate([DEEP, DEEP[..., :2]], -1)
    half_clear = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    made = {
        "grey": (saved(GREY, "TIFF"), GREY),
        "colour": (saved(SHARP, "TIFF"), SHARP),
        "1 bit": (saved(BITS, "TIFF"), 255 * BITS),
        "1 bit, group 4": (saved(BITS, "TIFF", compression="group4"), 255 * BITS),
        "few colours": (saved(few, "TIFF"), np.asarray(few.convert("RGB"))),
        "alpha": (saved(ALPHA, "TIFF"), over(ALPHA, 1, 255), 1),
        "CMYK": (saved(Image.fromarray(cmyk, "CMYK"), "TIFF"), SHARP),
        "pages": (written(np.stack([SHARP, 255 - SHARP]), **rgb), SHARP),
        "tiles": (written(SHARP, tile=(16, 16), **rgb), SHARP),
        "deep tiles": (written(DEEP, tile=(16, 16), **rgb), DEEP),
        "a volume": (written(np.stack([GREY] * 3), volumetric=True, tile=(16, 16, 16)), GREY),
        "planes": (written(SHARP.transpose(2, 0, 1), planarconfig="separate", **rgb), SHARP),
        "deep planes": (written(DEEP.transpose(2, 0, 1), planarconfig="separate", **rgb), DEEP),
        "big-endian": (written(SHARP, byteorder=">", **rgb), SHARP),
        "big": (written(SHARP, bigtiff=True, **rgb), SHARP),
        "big-endian, deep": (written(DEEP, byteorder=">", **rgb), DEEP),
        "big, deep": (written(DEEP, bigtiff=True, **rgb), DEEP),
        "grey of 16 bits": (written(DEEP[..., 0]), DEEP[..., 0]),
        "grey of 16 bits, big-endian": (written(DEEP[..., 0], byteorder=">"), DEEP[..., 0]),
        "white is 0": (written(255 - GREY, "miniswhite"), GREY),
        "deep, white is 0": (written(65535 - DEEP[..., 0], "miniswhite"), DEEP[..., 0]),
        "floats": (written(FLOATS), FLOATS),
        "doubles": (written(FLOATS.astype(float)), FLOATS),
        "3 floats": (written(SHARP / np.float32(255), "rgb"), SHARP / np.float32(255)),
        "halves": (written(FLOATS.astype(np.float16)), FLOATS.astype(np.float16)),
        "integers below 0": (written(GREY.astype(np.int16) - 99), GREY.astype(float) - 99),
        "32 bits": (written(GREY.astype(np.uint32) * 1000), GREY * 1000.0),
        "8 bits below 0": (written((GREY // 2).astype(np.int8)), GREY // 2),
        "5 channels": (written(wide, planarconfig="contig"), wide),
        "deep alpha": (written(np.concatenate([DEEP, np.full_like(DEEP[..., :1], 65535)], -1), **half_clear), DEEP),
        "one row a strip": (written(SHARP, rowsperstrip=1, **rgb), SHARP),
        "one pixel": (written(SHARP[:1, :1], **rgb), SHARP[:1, :1]),
        "a profile": (written(SHARP, iccprofile=b"none" * 40, **rgb), SHARP),
        "a long description": (written(SHARP, description="d" * 50_000, **rgb), SHARP),
        "JPEG inside": (saved(SMOOTH, "TIFF", compression="jpeg", quality=95), SMOOTH, FAR),
        "grey JPEG inside": (saved(GREY, "TIFF", compression="jpeg", quality=97), GREY, NEAR),
    }
    for way in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        made[way.removeprefix("tiff_")] = saved(SHARP, "TIFF", compression=way), SHARP
    for way in ("zlib", "lzw", "zstd"):
        made[f"deep {way}"] = written(DEEP, compression=way, predictor=way != "zstd", **rgb), DEEP
    for way, turn in TURNED.items():
        made[f"turned {way}"] = saved(turn(SHARP), "TIFF", exif=exif(way)), SHARP
    return {name: (content, pixels, *(rest or [0])) for name, (content, pixels, *rest) in made.items()}


def kinds() -> dict[str, Odd]:
    found = {}
    for name, (content, pixels, within) in plain().items():
        shaped = pixels if pixels.ndim == 3 else pixels[..., None]
        found[f"tiff {name}"] = Odd(content, shaped.astype(float), within, suffix=".tif")
    return found


def broken() -> dict[str, Odd]:
    good, deep = saved(SHARP, "TIFF"), written(DEEP, "rgb")
    many = written(DEEP, "rgb", rowsperstrip=4)
    lists = {
        "cut": good[: len(good) // 2],
        "deep, cut": deep[: len(deep) * 2 // 3],
        "of a header": good[:8],
        "of noise": b"II*\0" + bytes(range(256)),
        "whose tags lie beyond its end": good[:4] + struct.pack("<I", 10**9) + good[8:],
        "whose tags lie in themselves": good[:4] + struct.pack("<I", 2) + good[8:],
        "whose pixels lie beyond its end": set_tag(good, TAGS["strips"], 10**9),
        "of 2 billion pixels a side": set_tag(set_tag(good, TAGS["width"], 2**31 - 1), TAGS["height"], 2**31 - 1),
        "of 60,000 rows in few bytes": set_tag(deep, TAGS["height"], 60_000),
        "taller than its strips": set_tag(many, TAGS["height"], 400),
        "of height 0": set_tag(good, TAGS["height"], 0),
        "of complex numbers": written(FLOATS + 1j),
        "of LAB": saved(Image.fromarray(SHARP).convert("LAB"), "TIFF"),
        "big, of a header": written(SHARP, "rgb", bigtiff=True)[:16],
        "of values that are not finite": written(np.where(BITS, np.nan, FLOATS).astype(np.float32)),
    }
    return {f"tiff {name}": Odd(content, suffix=".tif") for name, content in lists.items()}
