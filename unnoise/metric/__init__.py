"""How far a set of samples is from the data: in moments, in what they cover, in what they are made of, and in what they copy."""

from unnoise.metric.base import LEVEL, LIMIT, Estimate, Metric
from unnoise.metric.diversity import Diversity
from unnoise.metric.fidelity import Fidelity, density_coverage, precision_recall
from unnoise.metric.interval import interval, mean_interval, share_interval
from unnoise.metric.kernel import Discrepancy, KernelDistance, mmd2
from unnoise.metric.memorization import Memorization, nearest
from unnoise.metric.moments import Frechet, Moments, frechet
from unnoise.metric.recognition import InceptionScore, Recognition
from unnoise.metric.signal import Marginals, Spectrum
from unnoise.metric.sliced import SlicedWasserstein

__all__ = [
    "LEVEL",
    "LIMIT",
    "Discrepancy",
    "Diversity",
    "Estimate",
    "Fidelity",
    "Frechet",
    "InceptionScore",
    "KernelDistance",
    "Marginals",
    "Memorization",
    "Metric",
    "Moments",
    "Recognition",
    "SlicedWasserstein",
    "Spectrum",
    "density_coverage",
    "frechet",
    "interval",
    "mean_interval",
    "mmd2",
    "nearest",
    "precision_recall",
    "share_interval",
]
