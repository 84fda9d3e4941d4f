"""Pictures into files, at the depth they have: PNG where it can hold them, .npy for everything else."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unnoise.domain.chunks import SIGNATURE, chunk

COLOURS = {"grey": 0, "rgb": 2, "rgba": 6}  # what PNG calls them
UP = 2  # the filter: each row less the one above it


def write(path: Path, levels: np.ndarray, channels: str, metadata: Mapping[str, str]) -> Path:
    """One picture, (C, H, W): `path` with the suffix .png, or .npy (H, W[, C]) with its metadata in a .json beside it.

    PNG holds 8 and 16 bits of grey, RGB and RGBA; floats and other channels need .npy.
    """
    pixels = np.ascontiguousarray(levels.transpose(1, 2, 0))  # (H, W, C)
    if channels in COLOURS and levels.dtype in (np.uint8, np.uint16):
        return _replace(path.with_name(path.name + ".png"), png(pixels, COLOURS[channels], metadata))
    if metadata:
        _replace(path.with_name(path.name + ".json"), json.dumps(dict(metadata), indent=1).encode())
    target = path.with_name(path.name + ".npy")
    partial = path.with_name(f".{path.name}.{os.getpid()}.npy")
    np.save(partial, pixels[..., 0] if channels == "grey" else pixels, allow_pickle=False)
    return partial.replace(target)


def png(pixels: np.ndarray, colour: int, text: Mapping[str, str]) -> bytes:
    """A PNG file of pixels (H, W, C), uint8 or uint16, with text chunks and no date: equal pixels give equal files.

    Reference: Portable Network Graphics (PNG) Specification, W3C, 2nd edition 2003, sections 5, 9.2 and 11.
    """
    height, width = pixels.shape[:2]
    depth = 8 * pixels.itemsize
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.concatenate([np.full((height, 1), UP, np.uint8), rows - above], 1)
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    chunks += [_text(key, value) for key, value in text.items()]
    chunks += [chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6)), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(chunks)


def _text(key: str, value: str) -> bytes:
    try:
        name = key.encode("latin-1")
    except UnicodeEncodeError:
        name = b""
    if not 1 <= len(name) <= 79 or b"\0" in name:
        raise ValueError(f"metadata key {key!r}: expected 1 to 79 Latin characters")
    if value.isascii() and "\0" not in value:
        return chunk(b"tEXt", name + b"\0" + value.encode())
    return chunk(b"iTXt", name + b"\0\0\0\0\0" + value.encode("utf-8", "backslashreplace"))


def _replace(path: Path, content: bytes) -> Path:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    return partial.replace(path)
