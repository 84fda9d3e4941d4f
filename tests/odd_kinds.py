"""Files of all other kinds as cameras, scanners and programs of old write them, or break them, with what must come of each."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
from odd_png import Odd
from pictures import encoded as saved
from pictures import over
from PIL import Image, ImageCms

RANDOM = np.random.default_rng(12)
HEIGHT, WIDTH = 24, 40
DOWN, RIGHT = np.mgrid[:HEIGHT, :WIDTH]
SMOOTH = np.stack([4 * DOWN + 20, 5 * RIGHT + 20, 3 * (DOWN + RIGHT) + 20], -1).astype(np.uint8)  # survives lossy formats
GREY = SMOOTH[..., 1]
SHARP = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
DEEP = RANDOM.integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
BITS = RANDOM.integers(0, 2, (HEIGHT, WIDTH)).astype(bool)
FLOATS = RANDOM.random((HEIGHT, WIDTH)).astype(np.float32)
ALPHA = np.concatenate([SHARP, SHARP[..., :1]], -1)
NEAR, FAR = 6, 14  # of lossy formats: of smooth pictures; where colour is halved too
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


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def jpegs() -> dict[str, Odd]:
    fine = {"quality": 97, "subsampling": 0}
    dark = np.concatenate([0 * SMOOTH, 255 - GREY[..., None]], -1)
    made = {
        "grey": (saved(GREY, "JPEG", quality=97), GREY[..., None], NEAR),
        "of all colours": (saved(SMOOTH, "JPEG", **fine), SMOOTH, NEAR),
        "of half the colours": (saved(SMOOTH, "JPEG", quality=95, subsampling=2), SMOOTH, FAR),
        "of colours halved sideways": (saved(SMOOTH, "JPEG", quality=95, subsampling=1), SMOOTH, FAR),
        "in RGB": (saved(SMOOTH, "JPEG", quality=97, keep_rgb=True), SMOOTH, NEAR),
        "progressive": (saved(SMOOTH, "JPEG", progressive=True, **fine), SMOOTH, NEAR),
        "with restarts": (saved(SMOOTH, "JPEG", restart_marker_blocks=1, **fine), SMOOTH, NEAR),
        "of quality 5": (saved(SMOOTH, "JPEG", quality=5), SMOOTH, 120),
        "CMYK of black alone": (saved(Image.fromarray(dark, "CMYK"), "JPEG", **fine), np.stack([GREY] * 3, -1), NEAR),
        "CMYK without black": (
            saved(Image.fromarray(np.concatenate([255 - SMOOTH, 0 * SMOOTH[..., :1]], -1), "CMYK"), "JPEG", **fine),
            SMOOTH,
            NEAR,
        ),
        "with a profile": (saved(SMOOTH, "JPEG", icc_profile=_profile(), **fine), SMOOTH, NEAR),
        "with a profile of nonsense": (saved(SMOOTH, "JPEG", icc_profile=b"nonsense", **fine), SMOOTH, NEAR),
        "with EXIF of nonsense": (saved(SMOOTH, "JPEG", exif=b"Exif\0\0nonsense", **fine), SMOOTH, NEAR),
        "with a comment": (saved(SMOOTH, "JPEG", comment=b"c" * 60_000, **fine), SMOOTH, NEAR),
        "of one pixel": (saved(SMOOTH[:1, :1], "JPEG", **fine), SMOOTH[:1, :1], NEAR),
        "of one row": (saved(SMOOTH[:1], "JPEG", **fine), SMOOTH[:1], NEAR),
        "of one column": (saved(SMOOTH[:, :1], "JPEG", **fine), SMOOTH[:, :1], NEAR),
        "with a tail": (saved(SMOOTH, "JPEG", **fine) + bytes(3000), SMOOTH, NEAR),
        "twice": (2 * saved(SMOOTH, "JPEG", **fine), SMOOTH, NEAR),
        "of two frames (MPO)": (
            saved(SMOOTH, "MPO", save_all=True, append_images=[Image.fromarray(255 - SMOOTH)], **fine),
            SMOOTH,
            NEAR,
        ),
    }
    found = {f"jpeg {name}": Odd(content, pixels, within, suffix=".jpg") for name, (content, pixels, within) in made.items()}
    for way, turn in TURNED.items():
        found[f"jpeg turned {way}"] = Odd(saved(turn(SMOOTH), "JPEG", exif=exif(way), **fine), SMOOTH, NEAR, suffix=".jpg")
    good, ordered = (saved(SHARP, "JPEG", progressive=p, **fine) for p in (False, True))
    size = good.index(b"\xff\xc0") + 5
    lists = {
        "cut in the header": good[:100],
        "cut in the scan": good[: len(good) * 2 // 3],
        "cut before its end": good[:-400],
        "progressive, cut": ordered[: len(ordered) // 2],
        "of its first two bytes": good[:2],
        "of 65,500 x 65,500 pixels in few bytes": good[:size] + struct.pack(">HH", 65_500, 65_500) + good[size + 4 :],
        "of height 0": good[:size] + struct.pack(">HH", 0, 40) + good[size + 4 :],
        "without tables": good.replace(b"\xff\xdb", b"\xff\xfe").replace(b"\xff\xc4", b"\xff\xfe"),
    }
    return found | {f"jpeg {name}": Odd(content, suffix=".jpg") for name, content in lists.items()}


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def webps() -> dict[str, Odd]:
    lossless = saved(SHARP, "WEBP", lossless=True)
    clear = saved(ALPHA, "WEBP", lossless=True, exact=True)
    second = Image.fromarray(255 - SHARP)
    made = {
        "lossless": (lossless, SHARP, 0),
        "lossy": (saved(SMOOTH, "WEBP", quality=100), SMOOTH, FAR),
        "with alpha": (clear, over(ALPHA, 1, 255), 1),
        "of two frames": (saved(SHARP, "WEBP", lossless=True, save_all=True, append_images=[second]), SHARP, 0),
        "turned": (saved(TURNED[6](SHARP), "WEBP", lossless=True, exif=exif(6).tobytes()), SHARP, 0),
        "with a profile": (saved(SHARP, "WEBP", lossless=True, icc_profile=_profile()), SHARP, 0),
        "of one pixel": (saved(SHARP[:1, :1], "WEBP", lossless=True), SHARP[:1, :1], 0),
    }
    lists = {"cut": lossless[: len(lossless) // 2], "of a header": lossless[:12], "cut in the header": lossless[:25]}
    found = {f"webp {name}": Odd(*made[name], suffix=".webp") for name in made}
    return found | {f"webp {name}": Odd(content, suffix=".webp") for name, content in lists.items()}


def gifs() -> dict[str, Odd]:
    few = Image.fromarray(SHARP).quantize(16)
    shown = np.asarray(few.convert("RGB"))
    index = np.asarray(few)
    grey = Image.fromarray(GREY)
    clear = np.where((index == 3)[..., None], 255, shown)
    second = Image.fromarray(255 - SHARP).quantize(16)
    made = {
        "of few colours": (saved(few, "GIF"), shown),
        "of greys": (saved(grey, "GIF"), np.stack([GREY] * 3, -1)),
        "with one colour clear": (saved(few, "GIF", transparency=3), clear),
        "interlaced": (saved(few, "GIF", interlace=1), shown),
        "of two frames": (saved(few, "GIF", save_all=True, append_images=[second], duration=40), shown),
        "with a comment": (saved(few, "GIF", comment=b"hello" * 50), shown),
        "of one pixel": (saved(few.crop((0, 0, 1, 1)), "GIF"), shown[:1, :1]),
    }
    good = made["of few colours"][0]
    found = {f"gif {name}": Odd(content, pixels, suffix=".gif") for name, (content, pixels) in made.items()}
    lists = {
        "cut": good[: len(good) // 2],
        "without pixels": good[:13],
        "of 65,535 pixels a side": good[:6] + b"\xff" * 4 + good[10:],
    }
    return found | {f"gif {name}": Odd(content, suffix=".gif") for name, content in lists.items()}


def bmp(rows: bytes, bits: int, way: int = 0, height: int = HEIGHT, table: bytes = b"", masks: bytes = b"") -> bytes:
    start = 54 + len(masks) + len(table)
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, bits, way, len(rows), 0, 0, len(table) // 4, 0)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + masks + table + rows


def bmps() -> dict[str, Odd]:
    five = RANDOM.integers(0, 32, (HEIGHT, WIDTH, 3))
    packed = (five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]).astype("<u2")
    wide = (five[..., 0] << 11 | five[..., 1] << 6 | five[..., 2]).astype("<u2")
    four = RANDOM.integers(0, 16, (HEIGHT, WIDTH))
    colours = RANDOM.integers(0, 256, (16, 3), np.uint8)
    table = np.concatenate([colours[:, ::-1], np.zeros((16, 1), np.uint8)], 1).tobytes()
    nibbles = (four[:, ::2] << 4 | four[:, 1::2]).astype(np.uint8)
    runs = b"".join(b"".join(bytes([1, v]) for v in row) + b"\0\0" for row in four[::-1]) + b"\0\1"
    good = saved(SHARP, "BMP")
    made = {
        "of 1 bit": (saved(Image.fromarray(BITS), "BMP"), np.where(BITS, 255, 0)[..., None]),
        "of 4 bits": (bmp(nibbles[::-1].tobytes(), 4, table=table), colours[four]),
        "of 8 bits": (saved(Image.fromarray(GREY), "BMP"), GREY[..., None]),
        "of 8 bits in runs": (bmp(runs, 8, 1, table=table), colours[four]),
        "of 15 bits": (bmp(packed[::-1].tobytes(), 16), five * 255 // 31),
        "of 16 bits": (
            bmp(wide[::-1].tobytes(), 16, 3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)),
            np.stack([five[..., 0] * 255 // 31, (2 * five[..., 1]) * 255 // 63, five[..., 2] * 255 // 31], -1),
        ),
        "of 24 bits": (good, SHARP),
        "of 24 bits, top first": (bmp(SHARP[..., ::-1].tobytes(), 24, height=-HEIGHT), SHARP),
        "of one column": (saved(SHARP[:, :1], "BMP"), SHARP[:, :1]),
    }
    found = {f"bmp {name}": Odd(content, pixels, 1, suffix=".bmp") for name, (content, pixels) in made.items()}
    huge = good[:18] + struct.pack("<ii", 2_000_000_000, 2_000_000_000) + good[26:]
    lists = {
        "cut": good[: len(good) // 2],
        "of a header": good[:54],
        "of 2 billion pixels a side": huge,
        "of 7 bits": bmp(b"", 7),
    }
    return found | {f"bmp {name}": Odd(content, suffix=".bmp") for name, content in lists.items()}


def anymaps() -> dict[str, Odd]:
    text = " ".join(map(str, SHARP.reshape(-1).tolist())).encode()
    size = f"{WIDTH} {HEIGHT}".encode()
    words = "\n".join(" ".join(map(str, row)) for row in GREY.tolist()).encode()
    made = {
        ".pbm in words": (
            b"P1\n" + size + b"\n" + "".join("01"[not v] for v in BITS.reshape(-1)).encode(),
            np.where(BITS, 255, 0),
        ),
        ".pbm in bytes": (b"P4\n" + size + b"\n" + np.packbits(~BITS, axis=1).tobytes(), np.where(BITS, 255, 0)),
        ".pgm in words": (b"P2\n# a comment\n" + size + b"\n255\n" + words, GREY),
        ".pgm in bytes": (b"P5 " + size + b" 255\n" + GREY.tobytes(), GREY),
        ".pgm of 16 bits": (b"P5 " + size + b" 65535\n" + DEEP[..., 0].astype(">u2").tobytes(), DEEP[..., 0]),
        ".ppm in words": (b"P3\n" + size + b"\n255\n" + text, SHARP),
        ".ppm in bytes": (b"P6\n#made by\n" + size + b"\n255\n" + SHARP.tobytes(), SHARP),
        ".ppm of 16 bits": (b"P6 " + size + b" 65535\n" + DEEP.astype(">u2").tobytes(), DEEP),
        ".ppm of 16 bits in words": (b"P3\n" + size + b"\n65535\n" + " ".join(map(str, DEEP.reshape(-1))).encode(), DEEP),
        ".ppm of 10 bits": (
            b"P6 " + size + b" 1023\n" + (DEEP >> 6).astype(">u2").tobytes(),
            np.rint((DEEP >> 6) * (65535 / 1023)),
        ),
        ".ppm of 4 levels": (b"P6 " + size + b" 3\n" + (SHARP % 4).tobytes(), SHARP % 4 * 85),
    }
    found = {}
    for name, (content, pixels) in made.items():
        found[f"anymap {name}"] = Odd(content, pixels.reshape(HEIGHT, WIDTH, -1), suffix=name[:4])
    lists = {
        "cut": made[".ppm in bytes"][0][:-100],
        "of words that are none": b"P3\n2 2\n255\nred green blue\n",
        "of 99,999 pixels a side": b"P6 99999 99999 255\n" + bytes(100),
        "of no size": b"P6\n",
        "of level 0": b"P5 4 4 0\n" + bytes(16),
    }
    lists["of 16 bits, cut"] = made[".ppm of 16 bits"][0][:-100]
    return found | {f"anymap {name}": Odd(content, suffix=".ppm") for name, content in lists.items()}


def arrays() -> dict[str, Odd]:
    def npy(array: np.ndarray, **options: Any) -> bytes:
        out = io.BytesIO()
        np.save(out, array, **options)
        return out.getvalue()

    good, broken = npy(DEEP), FLOATS.copy()
    broken[3, 4] = np.nan
    made = {
        "of 16 bits": (good, DEEP),
        "of the other byte order": (npy(DEEP.astype(">u2")), DEEP),
        "of the other order": (npy(np.asfortranarray(SHARP)), SHARP),
        "of halves": (npy(FLOATS.astype(np.float16)), FLOATS.astype(np.float16)[..., None]),
        "of truths": (npy(BITS), np.where(BITS, 255, 0)[..., None]),
        "of version 2": (_version(npy(GREY)), GREY[..., None]),
        "of one pixel": (npy(GREY[:1, :1]), GREY[:1, :1, None]),
    }
    found = {f"array {name}": Odd(content, pixels.astype(float), suffix=".npy") for name, (content, pixels) in made.items()}
    lists = {
        "of complex numbers": npy(FLOATS + 1j),
        "of objects": npy(np.array([[{}]]), allow_pickle=True),
        "of 4 dimensions": npy(DEEP[None]),
        "of nothing": npy(np.zeros((0, 4))),
        "of 1 dimension": npy(np.arange(9)),
        "of text": npy(np.array([["a"]])),
        "cut": good[:-10],
        "of values that are not finite": npy(broken),
        "of 8 billion pixels in few bytes": npy(GREY).replace(b"(24, 40)", b"(9e4, 9)"),
        "of 90,000 pixels a side": npy(GREY).replace(b"(24, 40), }      ", b"(90000, 90000), }"),
        "of a header": good[:40],
        "whose header runs code": npy(GREY).replace(b"{'descr': '|u1'", b"[exit(9) for k"),
    }
    return found | {f"array {name}": Odd(content, suffix=".npy") for name, content in lists.items()}


def _version(content: bytes) -> bytes:
    """The same array with the longer header of version 2."""
    (size,) = struct.unpack("<H", content[8:10])
    return content[:6] + b"\2\0" + struct.pack("<I", size) + content[10:]


def others() -> dict[str, Odd]:
    """What bears the name of a picture and is none of the kinds that are read."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.png", "x")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    contents = {
        "nothing": b"",
        "a byte": b"\x89",
        "zeros": bytes(5000),
        "noise": RANDOM.bytes(5000),
        "text": b"not a picture\nat all",
        "text of two bytes": "not a picture".encode("utf-16"),
        "HTML": b"<!DOCTYPE html><title>404</title>",
        "a pointer": pointer,
        "an error": b'{"error": "quota exceeded"}',
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "PDF": b"%PDF-1.7\n%\xe2\xe3\n",
        "a zip": packed.getvalue(),
        "a film": b"\0\0\0\x20ftypisom" + bytes(90),
        "ICO": saved(SMOOTH, "ICO"),
        "AVIF": saved(SMOOTH, "AVIF"),
        "JPEG 2000": saved(SMOOTH, "JPEG2000"),
        "TGA": saved(SMOOTH, "TGA"),
        "PCX": saved(SMOOTH, "PCX"),
        "EPS": saved(SMOOTH, "EPS"),
        "ICNS": saved(Image.fromarray(SMOOTH).resize((16, 16)), "ICNS"),
        "DDS": saved(SMOOTH, "DDS"),
        "a pickle": b"\x80\x04cposix\nsystem\n.",
    }
    named = {"a jpeg": saved(SMOOTH, "JPEG", quality=97, subsampling=0), "a bitmap": saved(SHARP, "BMP")}
    shown = {"a jpeg": (SMOOTH, NEAR), "a bitmap": (SHARP, 0)}
    found = {f"{name} named .png": Odd(content) for name, content in contents.items()}
    return found | {f"{name} named .png": Odd(content, *shown[name]) for name, content in named.items()}


def kinds() -> dict[str, Odd]:
    """All of them but TIFF."""
    return jpegs() | webps() | gifs() | bmps() | anymaps() | arrays() | others()
