"""What was measured of x: y = A(x) + noise. Operators compose, outer @ inner, with each other and with a codec's `decode`."""

from unnoise.operator.base import Composed, Function, Identity, Operator
from unnoise.operator.blur import Blur, GaussianBlur, MotionBlur
from unnoise.operator.channels import Gray
from unnoise.operator.fourier import Fourier
from unnoise.operator.interval import intervals
from unnoise.operator.jpeg import JPEG
from unnoise.operator.law import Holes, Law, Noise
from unnoise.operator.levels import Clip, Quantize
from unnoise.operator.mask import Crop, Mask
from unnoise.operator.matrix import Matrix
from unnoise.operator.measurement import Measurement
from unnoise.operator.noise import noise_std
from unnoise.operator.resample import Downsample
from unnoise.operator.shown import Shown
from unnoise.operator.spectrum import Spectrum

__all__ = [
    "JPEG",
    "Blur",
    "Clip",
    "Composed",
    "Crop",
    "Downsample",
    "Fourier",
    "Function",
    "GaussianBlur",
    "Gray",
    "Holes",
    "Identity",
    "Law",
    "Mask",
    "Matrix",
    "Measurement",
    "MotionBlur",
    "Noise",
    "Operator",
    "Quantize",
    "Shown",
    "Spectrum",
    "intervals",
    "noise_std",
]
