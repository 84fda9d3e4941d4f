"""What signals are made of, place by place and frequency by frequency: blur, noise, colour and contrast, without any features."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from unnoise.metric.base import LEVEL, Estimate, Metric
from unnoise.metric.interval import linear
from unnoise.metric.moments import Moments

BINS = 64  # of the distribution of values
TIE = 1e-9  # of a bin: a value at an edge is not above it, however it was rounded
FINE = 0.25  # cycles in a sample of the signal: above that lies detail
FLOOR = 1e-9  # of a power, as a share of all


class Spectrum(Metric):
    """Radial power spectra of signals (B, C, ...) beside those of a reference.

    Computes `detail`, the power at wavelengths below four pixels against the reference's, in decibels: blur is below zero, noise
    above; and `spectrum`, the root mean square of that over all radii of the frequency (1, 2, ... cycles over the longest side,
    up to half a cycle a pixel).

        P_r = mean over channels and frequencies f with round(|f| side) = r of |DFT(x)_f|^2

    Args:
        reference: Signals (N, C, ...), or the moments of their `power`.

    Reference: Durall et al., Watch your Up-Convolution, 2020, section 3.1. arXiv:2003.01826
    """

    def __init__(self, reference: Tensor | Moments) -> None:
        self.reference = reference if isinstance(reference, Moments) else Moments(power(reference))
        self.moments = Moments()

    def update(self, x: Tensor) -> None:
        self.moments.update(power(x))

    def merge(self, other: Self) -> None:
        self.moments.merge(other.moments)

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        covariance, decibel = self.moments.covariance, 10 / math.log(10)
        floor = FLOOR * self.reference.mean.sum().clamp(min=1e-30)
        ours, theirs = self.moments.mean + floor, self.reference.mean + floor
        away = decibel * (ours / theirs).log()
        rms = float(away.square().mean().sqrt())
        slope = decibel * away / (ours * len(away) * max(rms, 1e-12))
        fine = (torch.arange(1, len(ours) + 1) > FINE * 2 * len(ours)).double()
        a, b = fine @ ours, fine @ theirs
        return {
            "detail": linear(decibel * float((a / b).log()), decibel * fine / a, covariance, self.moments.n, level),
            "spectrum": linear(rms, slope, covariance, self.moments.n, level),
        }


def power(x: Tensor) -> Tensor:
    """The power of each signal of (B, C, ...) at each radius, (B, R) with R half the longest side."""
    sides = x.shape[2:]
    if not sides or max(sides) < 4:
        raise ValueError(f"signals of shape {tuple(x.shape[1:])}: a spectrum needs a side of at least 4")
    found = torch.view_as_real(torch.fft.rfftn(x.double(), dim=list(range(2, x.ndim))))  # the other half of it is its mirror
    spectrum = found.square_().sum(-1).mean(1).flatten(1)
    return spectrum @ _radii(tuple(sides))


@lru_cache(maxsize=4)
def _radii(sides: tuple[int, ...]) -> Tensor:
    """What takes the powers of the half spectrum, as a row, to their means at each radius above 0, (F, R)."""
    frequencies = [torch.fft.fftfreq(side, dtype=torch.float64) for side in sides[:-1]]
    last = torch.fft.rfftfreq(sides[-1], dtype=torch.float64)
    grid = torch.meshgrid(*frequencies, last, indexing="ij")
    radius = (sum(f.square() for f in grid).sqrt() * max(sides)).round().long().flatten()  # type: ignore[union-attr]
    twice = 2.0 - ((last == 0) | (last == 0.5)).double()  # all but these stand for two
    weight = F.one_hot(radius, int(radius.max()) + 1).double() * twice.expand(grid[0].shape).reshape(-1, 1)
    return (weight / weight.sum(0).clamp(min=1) / math.prod(sides))[:, 1 : max(sides) // 2 + 1]


class Marginals(Metric):
    """The distribution of single values of x, (B, C, ...), each channel (or axis, of points) for itself.

    Computes `marginal`, the Wasserstein distance of the values to the reference's, in units of its deviation, mean over the
    channels; and `contrast`, the mean deviation within one x, over the reference's (of points: the mean
    distance of a coordinate from the middle of its range).

    Args:
        reference: (N, C, ...); the range of its values is that of the comparison, in 64 equal steps.
    """

    def __init__(self, reference: Tensor) -> None:
        by_channel = reference.detach().double().flatten(2) if reference.ndim > 2 else reference.double()[..., None]
        low, high = by_channel.amin((0, 2)), by_channel.amax((0, 2))
        self.edges = low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, BINS + 1, dtype=torch.float64)  # (C, BINS + 1)
        self.deviation = by_channel.transpose(0, 1).flatten(1).std(1, correction=0).clamp(min=1e-12)
        self.reference = Moments()
        for part in reference.split(4096):
            self.reference.update(self._rows(part))
        self.moments = Moments()

    def update(self, x: Tensor) -> None:
        self.moments.update(self._rows(x))

    def merge(self, other: Self) -> None:
        self.moments.merge(other.moments)

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        covariance, n = self.moments.covariance, self.moments.n
        away = self.moments.mean - self.reference.mean
        step = (self.edges[:, 1] - self.edges[:, 0]) / self.deviation / len(self.edges)
        weight = torch.cat([step.repeat_interleave(BINS + 1), torch.zeros(1, dtype=torch.float64)])
        slope = weight * away.sign()
        marginal = linear(float(slope @ away), slope, covariance, n, level)
        ratio = torch.zeros_like(weight)
        ratio[-1] = 1 / self.reference.mean[-1].clamp(min=1e-12)
        return {
            "marginal": Estimate(marginal.value, max(marginal.low, 0), marginal.high),
            "contrast": linear(float(ratio @ self.moments.mean), ratio, covariance, n, level),
        }

    def _rows(self, x: Tensor) -> Tensor:
        """The distribution function of each x at the edges, and its deviation, (B, C (BINS + 1) + 1)."""
        values = x.detach().double().flatten(2) if x.ndim > 2 else x.double()[..., None]  # (B, C, L)
        b, c, n = values.shape
        low, step = self.edges[:, :1], (self.edges[:, -1:] - self.edges[:, :1]) / BINS
        bins = ((values - low) / step.clamp(min=1e-300) - TIE).ceil_().clamp_(0, BINS + 1).long()  # edges below each value
        bins += (BINS + 2) * torch.arange(b * c).reshape(b, c, 1)
        counts = torch.bincount(bins.flatten(), minlength=b * c * (BINS + 2)).reshape(b, c, BINS + 2).double()
        below = counts.cumsum(2)[..., : BINS + 1] / n
        middle = values.mean(2, keepdim=True) if n > 1 else self._centre[:, None]
        away = values - middle
        spread = away.square().mean(2).sqrt().mean(1) if n > 1 else away[..., 0].abs().mean(1)
        return torch.cat([below.flatten(1), spread[:, None]], 1)

    @property
    def _centre(self) -> Tensor:
        return (self.edges[:, 0] + self.edges[:, -1]) / 2
