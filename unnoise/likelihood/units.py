"""Nats and bits, stored values and densities.

Stored values are points; a density knows none. Spread evenly over its bin, of width 2 / (levels - 1) for x in [-1, 1], a
value has

    -log2 P(x) / D <= -(log p(x + spread) / D + log(width)) / log(2)

in the mean over the spread: bits a dimension, comparable with those of a discrete decoder on the same values.

Reference: Theis et al., A Note on the Evaluation of Generative Models, 2016, section 3.1. arXiv:1511.01844
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unnoise.tensor import Rng


def width(levels: int) -> float:
    """Of a bin, for so many stored values (2^bits) spread over [-1, 1]."""
    return 2 / (levels - 1)


def bits(log_prob: Tensor, dims: int, width: float = 1.0) -> Tensor:
    """Bits a dimension, of log densities in nats of samples of so many dimensions whose values have bins of this width."""
    return -(log_prob / dims + math.log(width)) / math.log(2)


def dequantize(x: Tensor, width: float, rng: Rng) -> Tensor:
    """Each value moved evenly over its bin, x + width (u - 1/2)."""
    return x + width * (rng.to(x.device).uniform(x.shape[1:], "dequantize", dtype=x.dtype) - 0.5)


def normal(train: Tensor, x: Tensor, width: float = 0.0) -> Tensor:
    """log density, (B,), of x under the normal law with the mean and the full covariance of `train`: what a model has to beat.

    Args:
        train: The data that it is fitted to, (N, ...), as they are stored.
        x: What is asked for, (B, ...), dequantised where there are bins.
        width: Of the bins, whose variance, width^2 / 12, the law has too.
    """
    rows = train.flatten(1).double()
    covariance = torch.cov(rows.T, correction=0) + (width**2 / 12 + 1e-12) * torch.eye(rows.shape[1], dtype=torch.float64)
    return torch.distributions.MultivariateNormal(rows.mean(0), covariance).log_prob(x.flatten(1).double())
