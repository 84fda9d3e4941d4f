"""How far a set of samples is from the data: in moments, in what they cover, and in what they copy."""

from unnoise.metric.base import Metric
from unnoise.metric.fidelity import Fidelity, density_coverage, precision_recall
from unnoise.metric.interval import interval, share_interval
from unnoise.metric.memorization import Memorization, nearest
from unnoise.metric.moments import Frechet, Moments, frechet

__all__ = [
    "Fidelity",
    "Frechet",
    "Memorization",
    "Metric",
    "Moments",
    "density_coverage",
    "frechet",
    "interval",
    "nearest",
    "precision_recall",
    "share_interval",
]
