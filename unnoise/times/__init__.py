"""Which times a walk visits: n of them, strictly falling. The walk's last act is to denoise at the last one.

No spacing is best everywhere: uniform in log-SNR suits schedules of moderate range, uniform in t those whose noise grows huge.
Rules of the first kind speak of continuous time and go from 1 to the schedule's t_min; those of the second, of the entries of a
table, 0 .. T - 1 (`Discrete`, `Sigmas`), as published samplers have them. Entries that rounding makes equal are merged.
"""

from unnoise.times.base import Final, Given, One, Times
from unnoise.times.below import Below
from unnoise.times.fitted import Fitted, FittedWalk
from unnoise.times.spaced import Auto, Beta, Karras, LogSNR, PolyExponential, Quadratic, Uniform
from unnoise.times.spaced import Spaced as Spaced
from unnoise.times.tables import Leading, Linspace, Listed, Sections, Strided, Trailing
from unnoise.times.tables import Tabled as Tabled

__all__ = [
    "Auto",
    "Below",
    "Beta",
    "Final",
    "Fitted",
    "FittedWalk",
    "Given",
    "Karras",
    "Leading",
    "Linspace",
    "Listed",
    "LogSNR",
    "One",
    "PolyExponential",
    "Quadratic",
    "Sections",
    "Strided",
    "Times",
    "Trailing",
    "Uniform",
]
