"""Weights by least squares: each step of a walk led back onto the course of the fine solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unnoise.denoiser import Denoise
from unnoise.task.tune.linear import Plan, Sample, end, shares
from unnoise.tensor import expand

RIDGE = 1e-4  # of the velocities' mean square: where they hardly differ, weights stay as they were
ROUNDS = 3  # of least squares weighted anew, towards plain distances


@dataclass(frozen=True)
class Course(Sample):
    """A sample with the way of its fine solve: `y` (K, M, ...) of the first M noises, on shares `u` (K,) that fall to 0."""

    u: Tensor
    y: Tensor

    def at(self, u: float, order: int = 4) -> Tensor:
        """y where the share is u, on the polynomial through the nearest knots."""
        first = int((self.u > u).sum()) - order // 2
        first = min(max(first, 0), len(self.u) - order)
        knots = self.u[first : first + order].tolist()
        return sum(_lagrange(knots, j, u) * y for j, y in enumerate(self.y[first : first + order]))


def _lagrange(knots: Sequence[float], j: int, u: float) -> float:
    value = 1.0
    for i, knot in enumerate(knots):
        if i != j:
            value *= (u - knot) / (knots[j] - knot)
    return value


@torch.no_grad()
def regressed(denoiser: Denoise, data: Course, plan: Plan, memory: int) -> Plan:
    """The walk on the same times with the weights that bring each step, from where the walk has come to, nearest to the course.

        w_k = w_k + argmin_d sum_i c_i |r_i - sum_j d_j v_ij|^2 + ridge |d|^2

    with r_i the way from the step's end in the i-th walk to its course, v_ij its velocities, newest first, and c_i one over
    what is left of |r_i| and its median, so that walks count by distance and not by its square. Costs one walk.

    Reference: Duan et al., Optimal Linear Subspace Search, 2023, arXiv:2305.14677 (without weights between steps)
    """
    u, rows = shares(denoiser.schedule, plan.t), list[Tensor]()

    def mend(k: int, y: Tensor, past: list[Tensor], row: Tensor) -> Tensor:
        used = int(row.nonzero().max()) + 1
        v = torch.stack(past[: max(used, memory)], 1).flatten(2)  # (M, J, D)
        row = row[: v.shape[1]]
        gap = (data.at(float(u[k + 1])) - y).flatten(1) - torch.einsum("j,mjd->md", row.to(v), v)
        rows.append(torch.nn.functional.pad(row + _nearest(v, gap), (0, len(plan.t) - len(row))))
        return rows[-1]

    m = data.y.shape[1]
    cond = {name: value[:m] for name, value in data.cond.items()}
    end(denoiser, data.noise[:m], plan.t, plan.weights, cond, mend)
    return replace(plan, weights=torch.stack(rows), name="regressed")


def _nearest(v: Tensor, gap: Tensor) -> Tensor:
    """The weights on v (M, J, D) that come nearest to gap (M, D), far ones counting no more than in a plain distance, (J,)."""
    gram, along, size = (c.cpu().double() for c in (v @ v.mT, (v @ gap[..., None])[..., 0], gap.square().sum(1)))
    change = gram.new_zeros(gram.shape[1])
    for _ in range(ROUNDS):
        left = (size - 2 * along @ change + torch.einsum("j,mjk,k->m", change, gram, change)).clamp(min=1e-20).sqrt()
        weight = 1 / (left + left.median())
        total = (expand(weight, gram) * gram).sum(0)
        ridge = RIDGE * total.diagonal().mean() * torch.eye(len(total), dtype=total.dtype)
        change = torch.linalg.solve(total + ridge, weight @ along)
    return change
