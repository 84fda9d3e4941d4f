"""The chunks of a PNG file: what Pillow lets pass although it makes other pixels than were meant.

Reference: Portable Network Graphics (PNG) Specification, W3C, 2nd edition 2003, sections 5.3, 8.2, 9.2 and 11.2.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of the colour types
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # x, y, dx, dy


@dataclass(frozen=True)
class Chunks:
    """A file whose critical chunks are whole; `data`: its pixels, packed; `clear`: the chunk of a transparent colour."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    data: bytes
    clear: bytes

    @classmethod
    def of(cls, content: bytes) -> Chunks:
        """Raises ValueError for chunks that are cut, spoiled or missing."""
        found: dict[bytes, list[bytes]] = {}
        for kind, part in _walk(content):
            found.setdefault(kind, []).append(part)
        if b"IHDR" not in found or b"IDAT" not in found:
            raise ValueError("a PNG without header or pixels")
        width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", found[b"IHDR"][0])
        if colour == 3 and b"PLTE" not in found:
            raise ValueError("a PNG whose palette is missing")
        clear = b"".join(chunk(b"tRNS", part) for part in found.get(b"tRNS", [])[:1])
        return cls(width, height, depth, colour, bool(interlace), b"".join(found[b"IDAT"]), clear)

    def passes(self) -> Iterator[tuple[slice, slice, int, int]]:
        """Which rows and columns each pass over the picture fills, how many rows that is, and how many bytes a row takes."""
        for x, y, dx, dy in ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            wide, tall = -(-(self.width - x) // dx), -(-(self.height - y) // dy)
            if wide > 0 and tall > 0:
                yield slice(y, None, dy), slice(x, None, dx), tall, 1 + -(-wide * BANDS[self.colour] * self.depth // 8)

    def unpacked(self) -> bytes:
        """The rows of all passes, filtered as they are; ValueError where there are fewer than the header says."""
        needed = sum(tall * size for _, _, tall, size in self.passes())
        rows = zlib.decompressobj().decompress(self.data, needed)
        if len(rows) < needed:
            raise ValueError(f"a PNG of {len(rows)} bytes of pixels; its header says {needed}")
        return rows

    def apart(self) -> Iterator[tuple[slice, slice, bytes]]:
        """Each pass as a file of its own, and the rows and columns that it fills."""
        rows, at = self.unpacked(), 0
        for down, right, tall, size in self.passes():
            wide = len(range(self.width)[right])
            header = struct.pack(">IIBBBBB", wide, tall, self.depth, self.colour, 0, 0, 0)
            packed = zlib.compress(rows[at : at + tall * size], 1)
            at += tall * size
            yield down, right, SIGNATURE + chunk(b"IHDR", header) + self.clear + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def check(content: bytes, pixels: np.ndarray) -> None:
    """ValueError where the pixels (H, W, C) that were read of a PNG cannot be all that it says."""
    chunks = Chunks.of(content)
    if chunks.interlaced or not pixels[-1].any():  # rows that are missing are read as zeros
        chunks.unpacked()


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk as it stands in the file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _walk(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the chunks that make the picture, up to the end."""
    at = len(SIGNATURE)
    while at + 12 <= len(content):
        (size,), kind = struct.unpack_from(">I", content, at), content[at + 4 : at + 8]
        part, end = content[at + 8 : at + 8 + size], at + 8 + size
        if kind[:1].isupper() or kind == b"tRNS":
            if content[end : end + 4] != struct.pack(">I", zlib.crc32(kind + part)):
                raise ValueError(f"a PNG of which the chunk {kind.decode('ascii', 'backslashreplace')} is damaged")
            yield kind, part
        if kind == b"IEND":
            return
        at = end + 4
    raise ValueError("a PNG that is cut short")
