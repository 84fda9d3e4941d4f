"""What sets of samples are compared by."""

from unnoise.metric.features.classifier import Classifier, train

__all__ = ["Classifier", "train"]
