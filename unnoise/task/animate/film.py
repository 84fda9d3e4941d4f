"""Films: pictures one after another, in one file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unnoise.task.sample import KEY

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {"gif": ".gif", "webp": ".webp", "apng": ".png", "mp4": ".mp4"}
SMALL = 128  # pixels: pictures whose longer side is shorter are enlarged by a whole factor
QUALITY = "16"  # of x264: lower is better, 0 without loss
DESCRIPTION = 0x010E  # of Exif's fields


@dataclasses.dataclass(frozen=True)
class Film:
    """What kind of file.

    Args:
        kind: "gif" (256 colours a frame), "webp" and "apng" (without loss), or "mp4" (H.264; needs the extra `movie`). All but
            the last go round for ever.
        delay: Of each frame, in milliseconds; GIF keeps tens of them.
        hold: More of it for the last frame.

    Raises:
        ValueError: For another kind, or frames shorter than 10 ms.
    """

    kind: str = "gif"
    delay: int = 80
    hold: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SUFFIXES or self.delay < 10:
            given = f"--format {self.kind} --delay {self.delay}"
            raise ValueError(f"{given}: expected {', '.join(SUFFIXES)}, and frames of at least 10 ms")
        if self.kind == "mp4":
            _av()


def write(pictures: Sequence[Image], path: Path, film: Film, about: str) -> Path:
    """Writes the film as `path` + its suffix. Comment (GIF, MP4), EXIF (WebP) or text (PNG) hold `about`.

    Neighbours that are the same to the byte become one longer frame in GIF and PNG.
    """
    path = path.with_name(path.name + SUFFIXES[film.kind])
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [_enlarged(one) for one in pictures]
    if film.kind == "mp4":
        _mp4(frames, path, film, about)
        return path
    delays = [film.delay] * (len(frames) - 1) + [film.delay + film.hold]
    first, *rest = [_few_colours(one) for one in frames] if film.kind == "gif" else frames
    first.save(path, save_all=True, append_images=rest, duration=delays, loop=0, **_options(film.kind, about))
    return path


def _options(kind: str, about: str) -> dict[str, Any]:
    from PIL.Image import Exif
    from PIL.PngImagePlugin import PngInfo

    if kind == "gif":
        return {"format": "GIF", "comment": about.encode(), "optimize": False}
    if kind == "apng":
        text = PngInfo()
        text.add_text(KEY, about)
        return {"format": "PNG", "pnginfo": text}
    exif = Exif()
    exif[DESCRIPTION] = about
    return {"format": "WEBP", "lossless": True, "exif": exif.tobytes()}


def _mp4(frames: Sequence[Image], path: Path, film: Film, about: str) -> None:
    av = _av()
    rate, held = Fraction(1000, film.delay), round(film.hold / film.delay)
    with av.open(str(path), "w") as container:
        container.metadata["comment"] = about
        stream = container.add_stream("libx264", rate=rate, options={"crf": QUALITY})
        first = _even(frames[0])
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        for one in [*frames, *([frames[-1]] * held)]:
            container.mux(stream.encode(av.VideoFrame.from_image(_even(one))))
        container.mux(stream.encode(None))


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise ValueError("--format mp4 needs PyAV: pip install 'unnoise[movie]'; or take gif, webp or apng") from None
    return av


def _enlarged(one: Image) -> Image:
    from PIL.Image import Resampling

    factor = -(-SMALL // max(one.size))
    one = one if one.mode in ("L", "RGB", "RGBA") else one.convert("RGB")
    return one if factor == 1 else one.resize((one.width * factor, one.height * factor), Resampling.NEAREST)


def _few_colours(one: Image) -> Image:
    return one if one.mode == "L" else one.convert("RGB").quantize(256)


def _even(one: Image) -> Image:
    """RGB of even sides, the last row and column repeated: what 4:2:0 can hold."""
    from PIL.Image import fromarray

    pixels = np.asarray(one.convert("RGB"))
    return fromarray(np.pad(pixels, ((0, one.height % 2), (0, one.width % 2), (0, 0)), "edge"))
