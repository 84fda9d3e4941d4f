"""PNG files that other programs write, or break: every colour type, depth and interlacing, odd chunks, ends too soon."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from pictures import over

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # x, y, every dx, dy
BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each colour type
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
NAMES = {0: "grey", 2: "rgb", 3: "palette", 4: "grey alpha", 6: "rgba"}
HEIGHT, WIDTH = 9, 13
RANDOM = np.random.default_rng(11)
PALETTE = RANDOM.integers(0, 256, (256, 3), np.uint8)


@dataclass(frozen=True)
class Odd:
    """A file, and what must come of it.

    Args:
        content: Its bytes.
        pixels: (H, W, C) as they must be read; None: it must be listed.
        within: How far each may lie from that, where the format loses something.
        either: Whether it may be listed as well, since it is damaged where it hardly matters.
        suffix: Of its name.
    """

    content: bytes
    pixels: np.ndarray | None = None
    within: float = 0
    either: bool = False
    suffix: str = ".png"


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def head(depth: int, colour: int, width: int = WIDTH, height: int = HEIGHT, way: int = 0, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, way, 0, interlace))


def filtered(samples: np.ndarray, depth: int, kind: int) -> bytes:
    """Rows of (H, W, B) samples, packed into bytes, each less what its filter foretells."""
    height, _, bands = samples.shape
    if depth == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        rows = samples.astype(np.uint8).reshape(height, -1)
    else:
        bits = (samples[..., None].astype(np.uint8) >> np.arange(depth)[::-1]) & 1
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    step = max(1, bands * depth // 8)
    left = np.pad(rows, ((0, 0), (step, 0)))[:, :-step].astype(int)
    up, corner = (np.pad(one, ((1, 0), (0, 0)))[:-1].astype(int) for one in (rows, left))
    near = [abs(left + up - corner - one) for one in (left, up, corner)]
    paeth = np.where((near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], up, corner))
    foretold = (0 * left, left, up, (left + up) // 2, paeth)[kind]
    less = ((rows - foretold) % 256).astype(np.uint8)
    return np.concatenate([np.full((height, 1), kind, np.uint8), less], 1).tobytes()


def png(
    samples: np.ndarray, depth: int, colour: int, *, interlace: bool = False, kind: int = 0, before: bytes = b"",
    after: bytes = b"", cuts: int = 0, level: int = 6,
) -> bytes:  # fmt: skip
    """Any PNG: `before` and `after` are chunks around the pixels, which lie in `cuts` bytes a chunk (0: in one)."""
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlace else [samples]
    raw = b"".join(filtered(part, depth, kind) for part in parts if part.size)
    packed = zlib.compress(raw, level)
    split = [packed[k : k + cuts] for k in range(0, len(packed), cuts)] if cuts else [packed]
    height, width = samples.shape[:2]
    start = SIGNATURE + head(depth, colour, width, height, interlace=int(interlace))
    return start + before + b"".join(chunk(b"IDAT", one) for one in split) + after + chunk(b"IEND")


def random(depth: int, colour: int) -> np.ndarray:
    return RANDOM.integers(0, 2**depth, (HEIGHT, WIDTH, BANDS[colour]), np.uint16)


def meant(samples: np.ndarray, depth: int, colour: int) -> np.ndarray:
    """The pixels that such a file shows, on white."""
    if colour == 3:
        return PALETTE[samples[..., 0]].astype(float)
    if colour in (4, 6):
        return over(samples, 1, 2**depth - 1)
    return samples * (255.0 / (2**depth - 1) if depth < 8 else 1.0)


def kinds() -> dict[str, Odd]:
    """All that the specification allows, by name."""
    found = {}
    for colour, depths in DEPTHS.items():
        for depth in depths:
            for interlace in (False, True):
                x, table = random(depth, colour), chunk(b"PLTE", PALETTE[: 2**depth].tobytes()) if colour == 3 else b""
                name = f"png {NAMES[colour]} {depth}" + " interlaced" * interlace
                lossy = 1 if colour in (4, 6) else 0
                made = png(x, depth, colour, interlace=interlace, before=table)
                found[name] = Odd(made, meant(x, depth, colour), lossy)
    for colour, depth in ((0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)):
        x = random(depth, colour)
        key, shown = x[2, 3], meant(x, depth, colour)
        clear = chunk(b"tRNS", b"".join(struct.pack(">H", int(v)) for v in key))
        there = (x == key).all(-1, keepdims=True)
        top = 65535 if depth == 16 else 255
        found[f"png {NAMES[colour]} {depth}, one colour clear"] = Odd(
            png(x, depth, colour, before=clear), np.where(there, top, shown)
        )
    for depth in DEPTHS[3]:
        x, alpha = random(depth, 3), RANDOM.integers(0, 256, 2**depth, np.uint8)
        table = chunk(b"PLTE", PALETTE[: 2**depth].tobytes()) + chunk(b"tRNS", alpha.tobytes())
        shown = over(np.concatenate([PALETTE[x[..., 0]], alpha[x[..., 0]][..., None]], -1), 1, 255)
        found[f"png palette {depth}, half clear"] = Odd(png(x, depth, 3, before=table), shown, 1)
    x = random(8, 2)
    for kind, name in enumerate(("none", "sub", "up", "average", "paeth")):
        found[f"png filter {name}"] = Odd(png(x, 8, 2, kind=kind), x)
    return found | {f"png with {name}": Odd(content, x) for name, content in _chunks(x).items()}


def _chunks(x: np.ndarray) -> dict[str, bytes]:
    """The same pixels among chunks that do not change them."""
    text = chunk(b"tEXt", b"Comment\0" + b"x" * 5000)
    before = {
        "gAMA": chunk(b"gAMA", struct.pack(">I", 220_000)),
        "sRGB": chunk(b"sRGB", b"\0"),
        "cHRM": chunk(b"cHRM", struct.pack(">8I", *range(30_000, 110_000, 10_000))),
        "bKGD": chunk(b"bKGD", bytes([0, 255, 0, 0, 0, 0])),
        "pHYs": chunk(b"pHYs", struct.pack(">IIB", 1, 7, 1)),
        "iCCP": chunk(b"iCCP", b"odd\0\0" + zlib.compress(b"no profile at all")),
        "sBIT": chunk(b"sBIT", bytes([5, 6, 5])),
        "a suggested palette": chunk(b"PLTE", PALETTE.tobytes()),
        "long text": text,
        "text packed 1000 to 1": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(500_000))),
        "international text": chunk(b"iTXt", "Titel\0\0\0de\0Titel\0Äpfel 林檎".encode()),
        "a chunk that nobody knows": chunk(b"oDDs", b"?" * 99),
        "the time": chunk(b"tIME", struct.pack(">HBBBBB", 2026, 2, 30, 25, 61, 61)),
    }
    found = {name: png(x, 8, 2, before=one) for name, one in before.items()}
    return found | {
        "a byte in each chunk": png(x, 8, 2, cuts=1),
        "empty chunks of pixels": png(x, 8, 2, before=chunk(b"IDAT"), cuts=50),
        "text after the pixels": png(x, 8, 2, after=text),
        "a tail": png(x, 8, 2) + b"appended" * 1000,
        "no compression": png(x, 8, 2, level=0),
    }


def broken() -> dict[str, Odd]:
    """What must be listed, or may be, where all pixels are there."""
    x = random(8, 2)
    good, raw = png(x, 8, 2), zlib.compress(filtered(x, 8, 0))
    end, tail = chunk(b"IEND"), good[-12:]

    def of(header: bytes, *parts: bytes) -> bytes:
        return SIGNATURE + header + b"".join(parts) + end

    data = chunk(b"IDAT", raw)
    flipped = bytearray(good)
    flipped[-30] ^= 16
    lists = {
        "cut after the signature": good[:8],
        "cut in the header": good[:20],
        "cut after the header": good[:33],
        "cut in the pixels": good[: len(good) // 2],
        "cut in the last pixels": good[:-40],
        "without pixels": of(head(8, 2)),
        "of width 0": of(head(8, 2, width=0), data),
        "of height 0": of(head(8, 2, height=0), data),
        "of 60,000 x 60,000 pixels in few bytes": of(head(8, 2, 60_000, 60_000), data),
        "of 2 billion pixels a side": of(head(8, 2, 2**31 - 1, 2**31 - 1), data),
        "of negative width": of(head(8, 2, 2**32 - 5), data),
        "taller than its pixels": of(head(8, 2, height=400), data),
        "of depth 3": of(head(3, 0), data),
        "of depth 0": of(head(0, 2), data),
        "of colour type 1": of(head(8, 1), data),
        "of colour type 7": of(head(8, 7), data),
        "of an unknown interlacing": of(head(8, 2, interlace=7), data),
        "without a palette": of(head(8, 3), chunk(b"IDAT", zlib.compress(filtered(x[..., :1], 8, 0)))),
        "of spoiled zlib": of(head(8, 2), chunk(b"IDAT", b"\x78\x9c" + b"\xff" * 90)),
        "of an unknown filter": of(head(8, 2), chunk(b"IDAT", zlib.compress(b"\x09" * (HEIGHT * (3 * WIDTH + 1))))),
        "with a spoiled header": good[:20] + b"\x01" + good[21:],
        "with a flipped bit in the pixels": bytes(flipped),
        "of nothing but a header chunk's name": SIGNATURE + b"\0\0\0\x0dIHDR",
    }
    damaged = {
        "of an unknown compression": of(head(8, 2, way=9), data),
        "without its end": good.removesuffix(tail),
        "with a spoiled end": good[:-4] + b"abcd",
        "with a wrong sum of all pixels": of(head(8, 2), chunk(b"IDAT", raw[:-4] + b"sums")),
        "of more pixels than it says": png(np.concatenate([x, x]), 8, 2).replace(head(8, 2, height=2 * HEIGHT), head(8, 2)),
        "with a spoiled comment": png(x, 8, 2, before=chunk(b"tEXt", b"Comment\0good")).replace(b"good", b"evil"),
        "with two headers": of(head(8, 2), head(8, 2), data),
        "with a critical chunk that nobody knows": png(x, 8, 2, before=chunk(b"ODDs", b"?")),
    }
    found = {f"png {name}": Odd(content) for name, content in lists.items()}
    return found | {f"png {name}": Odd(content, x, either=True) for name, content in damaged.items()}
