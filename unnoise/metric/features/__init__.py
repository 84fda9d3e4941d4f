"""What sets of samples are compared by."""

from unnoise.metric.features.base import Features, Pooled, Raw
from unnoise.metric.features.classifier import Classifier, train

__all__ = ["Classifier", "Features", "Pooled", "Raw", "train"]
