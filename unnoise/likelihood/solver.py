"""An adaptive solver of the fifth order, with steps of its own for each sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unnoise.tensor import expand

Slope = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
ROWS = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # fifth order less fourth
FIRST = 0.01  # of the whole interval
SAFETY, LEAST, MOST = 0.9, 0.2, 5.0  # of a step's change


@torch.no_grad()
def solve(slope: Slope, y: Tensor, start: float, end: float, rtol: float, atol: float) -> tuple[Tensor, Tensor]:
    """y at `end` and the integral of the second slope, (B,) in float64, from y at `start`.

    The error of a step is the root mean square over a sample, of y and of the integral a dimension, each over
    atol + rtol |value|; a sample's steps depend on nothing but itself.

    Args:
        slope: (time (B,), y) -> dy / dtime, of y's shape, and the integrand, (B,).

    Reference: Dormand & Prince, A Family of Embedded Runge-Kutta Formulae, 1980; Hairer et al., Solving Ordinary Differential
    Equations I, 1993, section II.4.
    """
    dims = y[0].numel()
    time, total = torch.full((len(y),), start, dtype=torch.float64), torch.zeros(len(y), dtype=torch.float64)
    step = torch.full_like(time, FIRST * (end - start))
    k_y, k_l = slope(time, y)
    while (left := (end - time).abs() > 1e-12 * abs(end - start)).any():
        step = torch.where(step.abs() < (end - time).abs(), step, end - time)
        ys, ls = [k_y], [k_l]
        for node, row in zip(NODES[1:], ROWS[1:], strict=True):
            moved = y + _times(step, _sum(row, ys))
            found = slope(time + node * step, moved)
            ys.append(found[0])
            ls.append(found[1])
        gained = step * _sum(ROWS[-1], ls)
        error_y = _times(step, _sum(ERROR, ys)) / (atol + rtol * torch.maximum(y.abs(), moved.abs()))
        error_l = step * _sum(ERROR, ls) / dims / (atol + rtol * (total.abs() + gained.abs()) / dims)
        error = torch.maximum(error_y.square().flatten(1).mean(1).sqrt().cpu().double(), error_l.abs())
        taken = (error <= 1) & left
        where = expand(taken.to(y.device), y)
        y, k_y = torch.where(where, moved, y), torch.where(where, ys[-1], k_y)
        total, k_l = torch.where(taken, total + gained, total), torch.where(taken, ls[-1], k_l)
        time = torch.where(taken, time + step, time)
        step = step * (SAFETY * error.clamp(min=1e-10) ** -0.2).clamp(LEAST, MOST)
    return y, total


def _sum(weights: tuple[float, ...], values: list[Tensor]) -> Tensor:
    first, *rest = (w * v for w, v in zip(weights, values, strict=False) if w)
    return sum(rest, first)


def _times(step: Tensor, y: Tensor) -> Tensor:
    return expand(step.to(y), y) * y
