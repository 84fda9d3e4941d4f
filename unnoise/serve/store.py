"""Pictures and arrays that clients may ask for again: in memory, by ids that nobody guesses, for a stated time."""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import BinaryIO

from unnoise.serve.jobs import Refused, new_id
from unnoise.serve.limits import Limits
from unnoise.serve.line import Client

KINDS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/bmp": "BMP", "image/tiff": "TIFF"}


@dataclass(eq=False)
class Kept:
    """Bytes, and what they are."""

    id: str
    owner: str
    content: bytes
    type: str
    width: int = 0
    height: int = 0
    channels: int = 0
    used: float = 0.0


class Store:
    """Of one server. Any thread may use it."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.lock = limits, threading.Lock()
        self.kept: OrderedDict[str, Kept] = OrderedDict()  # the least recently used first
        self.bytes = 0

    def add(self, owner: Client, content: bytes, type_: str, width: int = 0, height: int = 0, channels: int = 0) -> Kept:
        kept = Kept(new_id(), owner.name, content, type_, width, height, channels, time.monotonic())
        with self.lock:
            self.kept[kept.id] = kept
            self.bytes += len(content)
            self._tidy()
        return kept

    def get(self, id_: str, owner: Client, type_: str = "image/png") -> Kept:
        """Raises Refused (404) for what is not there, or another's."""
        self.tidy()
        with self.lock:
            kept = self.kept.get(id_)
            if kept is None or kept.owner != owner.name or kept.type != type_:
                raise Refused(404, f"no such {'picture' if type_ == 'image/png' else 'array'}; they are kept for a while only")
            kept.used = time.monotonic()
            self.kept.move_to_end(id_)
            return kept

    def tidy(self) -> None:
        """Forgets what was not used for long."""
        with self.lock:
            self._tidy()

    def _tidy(self) -> None:
        now = time.monotonic()
        while self.kept:
            oldest = next(iter(self.kept.values()))
            if now - oldest.used <= self.limits.keep_seconds and self.bytes <= self.limits.keep_bytes:
                return
            del self.kept[oldest.id]
            self.bytes -= len(oldest.content)


def decoded(content: bytes, type_: str, limits: Limits) -> tuple[bytes, int, int, int]:
    """An uploaded picture as a PNG of its pixels alone, its width, height and channels; header first.

    Raises:
        Refused: If it is not of the type that it is said to be, is too large, or is broken.
    """
    from unnoise.domain.decode import header, picture
    from unnoise.domain.form import Form
    from unnoise.domain.save import COLOURS, png

    if type_ not in KINDS:
        raise Refused(415, f"a picture is expected as one of {', '.join(KINDS)}")
    file: BinaryIO = io.BytesIO(content)
    try:
        _check_kind(content, KINDS[type_])
        head = header(file)
        if head.height * head.width > limits.picture_pixels:
            raise Refused(413, f"{head.width} x {head.height} pixels: at most {limits.picture_pixels} are taken")
        if head.depth not in ("uint8", "uint16") or head.channels not in (1, 3):
            raise Refused(422, f"{head.channels} channels of {head.depth}: grey or RGB of 8 or 16 bits is expected")
        colours = 3 if head.alpha else head.channels
        file.seek(0)
        pixels = picture(file, Form(head.height, head.width, colours + head.alpha, head.depth, head.alpha))
    except Refused:
        raise
    except Exception as error:  # decoders raise what they like on broken files
        raise Refused(422, f"this cannot be read as {KINDS[type_]}") from error
    kind = "rgba" if head.alpha else "rgb" if colours == 3 else "grey"
    made = png(pixels.transpose(1, 2, 0).copy(), COLOURS[kind], {})
    return made, head.width, head.height, len(pixels)


def _check_kind(content: bytes, kind: str) -> None:
    """The content is what its type says: nothing is tried on it that was not announced."""
    begins = {
        "PNG": content.startswith(b"\x89PNG\r\n\x1a\n"),
        "JPEG": content.startswith(b"\xff\xd8\xff"),
        "WEBP": content[:4] == b"RIFF" and content[8:12] == b"WEBP",
        "BMP": content.startswith(b"BM"),
        "TIFF": content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    }
    if not begins[kind]:
        raise Refused(415, f"the content is no {kind}")
