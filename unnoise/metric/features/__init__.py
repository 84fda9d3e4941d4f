"""What sets of samples are compared by."""

from unnoise.metric.features.autoencoder import Autoencoder, train_autoencoder
from unnoise.metric.features.base import Features, Pooled, Raw
from unnoise.metric.features.classifier import Classifier, train
from unnoise.metric.features.inception import Inception
from unnoise.metric.features.transformer import Transformer

__all__ = ["Autoencoder", "Classifier", "Features", "Inception", "Pooled", "Raw", "Transformer", "train", "train_autoencoder"]
