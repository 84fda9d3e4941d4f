"""The form that every picture of a set is brought to, and how: channels, then depth, then size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOP = {"uint8": 255, "uint16": 65535, "float32": 1}
DEPTHS = tuple(TOP)  # from shallow to deep
FILTERS = {"nearest": 0, "area": 4, "bilinear": 2, "bicubic": 3, "lanczos": 1}  # Pillow's numbers
CROPS = ("center", "none")
LUMA = np.array([[0.299], [0.587], [0.114]])  # Rec. 601


@dataclass(frozen=True)
class Form:
    """What every picture of a set is brought to.

    Args:
        height, width, channels: The shape; where `alpha`, the last channel is that.
        depth: "uint8", "uint16" or "float32". Shallower values are spread over it: 255 becomes 65535, or 1.0.
        resize: The filter, antialiased: "lanczos", "bicubic", "bilinear", "area" or "nearest".
        crop: "center" keeps proportions and cuts what is too long; "none" keeps the whole picture, stretched.
        background: What shows through where alpha is not kept, as a CSS colour.
    """

    height: int
    width: int
    channels: int
    depth: str
    alpha: bool = False
    resize: str = "lanczos"
    crop: str = "center"
    background: str = "white"

    def __call__(self, pixels: np.ndarray, alpha: bool) -> np.ndarray:
        """Pixels (H, W, C), alpha last, in this form, (C, H, W). ValueError where no rule makes one of the other."""
        pixels = self._size(_depth(self._channels(pixels, alpha), self.depth))
        demand_finite(pixels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _channels(self, pixels: np.ndarray, alpha: bool) -> np.ndarray:
        depth, top = pixels.dtype.name, TOP[pixels.dtype.name]
        colour, opacity = (pixels[..., :-1], pixels[..., -1:]) if alpha else (pixels, None)
        if opacity is not None and not self.alpha:
            share = opacity / (np.float32(top) if depth == "uint8" else np.float64(top))
            behind = (top * background(self.background, colour.shape[-1])).astype(share.dtype)
            colour = store(colour * share + behind * (1 - share), depth)
        have, want = colour.shape[-1], self.channels - self.alpha
        if (have, want) == (1, 3):
            colour = colour.repeat(3, -1)
        elif (have, want) == (3, 1):
            colour = store(colour @ LUMA, depth)
        elif have != want:
            raise ValueError(f"{have} channels; expected {want}")
        if not self.alpha:
            return colour
        return np.concatenate([colour, np.full_like(colour[..., :1], top) if opacity is None else opacity], -1)

    def _size(self, pixels: np.ndarray) -> np.ndarray:
        """What is kept of the picture, brought to size in one step."""
        height, width = pixels.shape[:2]
        if (height, width) == (self.height, self.width):
            return pixels
        scale = min(height / self.height, width / self.width)
        tall, wide = (self.height * scale, self.width * scale) if self.crop == "center" else (height, width)
        left, top = (width - wide) / 2, (height - tall) / 2
        box = (left, top, left + wide, top + tall)
        if pixels.dtype == np.uint8 and (pixels.shape[-1] in (1, 3) or self.alpha):
            return self._resample(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, box)  # RGBA: weighted by alpha
        planes = pixels.astype(np.float32)
        if self.alpha:
            planes[..., :-1] *= planes[..., -1:] / TOP[self.depth]
        planes = np.concatenate([self._resample(plane, box) for plane in planes.transpose(2, 0, 1)], -1)
        return store(unmultiply(planes, TOP[self.depth]) if self.alpha else planes, self.depth)

    def _resample(self, pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(pixels))
        resized = image.resize((self.width, self.height), Image.Resampling(FILTERS[self.resize]), box)
        return np.asarray(resized).reshape(self.height, self.width, -1)


def demand_finite(pixels: np.ndarray) -> None:
    """ValueError for floats that are not."""
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        raise ValueError("values that are not finite")


def common_channels(counts: Sequence[int]) -> int:
    """The channels of a set of files: 3 where grey and colour are mixed, else what most of them have."""
    most = Counter(counts).most_common(1)[0][0]
    return 3 if most in (1, 3) and 3 in counts else most


def background(name: str, channels: int) -> np.ndarray:
    """A CSS colour in [0, 1], (channels,): its luminance where these are not 3. ValueError for a name that is none."""
    from PIL import ImageColor

    colour = np.array(ImageColor.getrgb(name)[:3]) / 255
    return colour if channels == 3 else np.full(channels, colour @ LUMA)


def unmultiply(pixels: np.ndarray, top: float) -> np.ndarray:
    """Colours that were multiplied by alpha, divided by it; 0 where it is 0."""
    share = pixels[..., -1:] / top
    colour = np.divide(pixels[..., :-1], share, out=np.zeros_like(pixels[..., :-1]), where=share > 0)
    return np.concatenate([colour, pixels[..., -1:]], -1)


def store(values: np.ndarray, depth: str) -> np.ndarray:
    """Values as that depth: integers rounded and clipped."""
    return values.astype(depth) if depth == "float32" else np.rint(np.clip(values, 0, TOP[depth])).astype(depth)


def _depth(pixels: np.ndarray, depth: str) -> np.ndarray:
    had = pixels.dtype.name
    if had == depth:
        return pixels
    if DEPTHS.index(depth) > DEPTHS.index(had):
        return pixels.astype(np.uint16) * np.uint16(257) if depth == "uint16" else pixels.astype(np.float32) / TOP[had]
    if had == "float32" and (pixels.min() < 0 or pixels.max() > 1):  # a file that is loaded into a shallower set
        raise ValueError(f"floats outside [0, 1]; expected {depth}")
    return store(pixels * (TOP[depth] / np.float64(TOP[had])), depth)
