"""The noise level and the conditions of route "vector", as one vector for each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.condition import Condition, Conditions
from unnoise.tensor import Cond


class Sinusoidal(nn.Module):
    """Sines and cosines of the level, (B,), at geometrically falling frequencies, (B, dim).

        angle_i = level period^(-i / n),   i = 0 ... half - 1,   half = dim / 2

    with n = half, or n = half - 1 so that the last frequency is 1 / period exactly. Made for levels that span hundreds
    to thousands, as the index of a discrete schedule does. An odd `dim` ends with a zero.

    Args:
        dim: Of the output.
        order: "cos sin" or "sin cos": which comes first.
        endpoint: n = half - 1. DDPM has "sin cos" with it, Improved DDPM and ADM "cos sin" without.
        period: Ratio of the frequencies.

    Reference: Vaswani et al., Attention Is All You Need, 2017, section 3.5. arXiv:1706.03762
    """

    def __init__(self, dim: int, order: str = "cos sin", endpoint: bool = False, period: float = 10_000.0) -> None:
        super().__init__()
        self.dim, self.order, self.endpoint, self.period = dim, order, endpoint, period

    def forward(self, level: Tensor) -> Tensor:
        half = self.dim // 2
        if level.dtype != torch.float64:
            level = level.float()  # half precision would blur neighbouring levels
        i = torch.arange(half, dtype=level.dtype, device=level.device)
        angles = level[:, None] * torch.exp(-math.log(self.period) / max(1, half - self.endpoint) * i)  # (B, half)
        sin, cos = angles.sin(), angles.cos()
        both = torch.cat([sin, cos] if self.order == "sin cos" else [cos, sin], dim=1)
        return F.pad(both, (0, self.dim % 2))


class Fourier(nn.Module):
    """Sines and cosines of the level, (B,), at random frequencies, (B, dim): for levels of order one, as log sigma.

        angle_i = 2 pi level f_i,   f_i ~ N(0, scale^2), drawn once

    Args:
        dim: Of the output; even.
        scale: Of the frequencies.

    Reference: Song et al., Score-Based Generative Modeling through SDEs, 2021, appendix H.2. arXiv:2011.13456
    """

    frequencies: Tensor

    def __init__(self, dim: int, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(dim // 2))

    def forward(self, level: Tensor) -> Tensor:
        angles = level[:, None] * (2 * math.pi * self.frequencies)  # (B, dim / 2)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class Classes(nn.Module):
    """A table of learned vectors: one for each class, and the last for none. (B,) integers -> (B, dim)."""

    def __init__(self, classes: Sequence[str], dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(len(classes) + 1, dim)

    def forward(self, label: Tensor) -> Tensor:
        return self.table(label)


class Values(nn.Module):
    """Numbers, standardised, each with a flag: (z, 1) where it is given, (0, 0) where it is NaN. (B, *shape) -> (B, dim).

    Args:
        condition: What they are.
        dim: Of the result.
        linear: One linear map, for vectors that further layers follow; else two layers.
    """

    def __init__(self, condition: Condition, dim: int, linear: bool = False) -> None:
        super().__init__()
        self.mean, self.std = condition.mean, condition.std or 1.0
        given = 2 * math.prod(condition.shape)
        self.hidden = None if linear else nn.Linear(given, dim)
        self.out = nn.Linear(given if linear else dim, dim)

    def forward(self, value: Tensor) -> Tensor:
        value = (value.reshape(value.shape[0], -1) - self.mean) / self.std  # (B, D)
        missing = value.isnan()
        h = torch.cat([torch.where(missing, 0.0, value), (~missing).to(value.dtype)], dim=1)  # (B, 2 D)
        h = h.to(self.out.weight.dtype)
        return self.out(h if self.hidden is None else F.silu(self.hidden(h)))


class Embedding(nn.Module):
    """The level through two layers, plus the vector of every condition of route "vector". Returns (B, dim), activated.

        late:  silu(out(silu(hidden(features(level)))) + sum over conditions of embed(condition))
        early: silu(out(silu(hidden(features(level) + sum over conditions of embed(condition)))))

    Args:
        features: What is seen of the level: "cos sin" (ADM) or "sin cos" (DDPM), both for levels up to some thousands;
            "cos sin endpoint", with DDPM's frequencies; "fourier" for levels of the order of one.
        width: Number of those features.
        dim: Of the result.
        conds: The network's conditions.
        early: Where the conditions come in: late is ADM's way, early that of EDM's NCSN++.

    Raises:
        ValueError: For other features, or a route that is neither "vector" nor "concat".
    """

    def __init__(self, features: str, width: int, dim: int, conds: Conditions, early: bool = False) -> None:
        super().__init__()
        for name, condition in conds.items():
            if condition.route not in ("vector", "concat"):
                raise ValueError(f"condition {name!r} of route {condition.route!r}: this network takes vector and concat")
        self.features = _features(features, width)
        self.hidden = nn.Linear(width, dim)
        self.out = nn.Linear(dim, dim)
        self.early = early
        self.names = sorted(name for name, condition in conds.items() if condition.route == "vector")
        # A list, in the order of the names: a name such as "type" or "a.b" cannot be a module's.
        self.conditions = nn.ModuleList(self.embed(conds[name], width if early else dim) for name in self.names)

    def embed(self, condition: Condition, dim: int) -> nn.Module:
        return Classes(condition.classes, dim) if condition.classes else Values(condition, dim, linear=self.early)

    def forward(self, level: Tensor, cond: Cond) -> Tensor:
        h = self.features(level).to(self.hidden.weight.dtype)  # (B, width)
        if self.early:
            h = self.add(h, cond)
        h = self.out(F.silu(self.hidden(h)))  # (B, dim)
        return F.silu(h if self.early else self.add(h, cond))

    def add(self, h: Tensor, cond: Cond) -> Tensor:
        for name, embed in zip(self.names, self.conditions, strict=True):
            h = h + embed(cond[name])
        return h


def _features(features: str, width: int) -> nn.Module:
    match features:
        case "cos sin" | "sin cos":
            return Sinusoidal(width, features, endpoint=features == "sin cos")
        case "cos sin endpoint":
            return Sinusoidal(width, "cos sin", endpoint=True)
        case "fourier":
            return Fourier(width)
    raise ValueError(f'no level features {features!r}; expected "cos sin", "sin cos", "cos sin endpoint" or "fourier"')


def beside(x: Tensor, conds: Conditions, cond: Cond) -> list[Tensor]:
    """`x` and, after it, the conditions of route "concat" in the order of their names; NaN is taken as 0."""
    names = sorted(name for name, condition in conds.items() if condition.route == "concat")
    return [x, *(torch.where(cond[name].isnan(), 0.0, cond[name]).to(x.dtype) for name in names)]
