"""The solver grid: every cell is finite, or refused with a reason before any work. `python -m benchmarks grid`.

Schedule x prediction x sampler with its orders x spacing x steps x precision, on a normal law in the plane whose exact denoiser
stands behind each prediction as a network. Every schedule meets every prediction and sampler; spacings, steps and precisions
go round.
"""

import itertools
import json
import sys
import time
from collections import Counter

import torch
from torch import Tensor, nn

from unnoise import prediction as prediction_room
from unnoise.denoiser import Denoiser, Gaussian
from unnoise.prediction import Prediction
from unnoise.sampler import Sampler, prior
from unnoise.schedule import Schedule
from unnoise.task.selfcheck.laws import predictions
from unnoise.task.selfcheck.members import changed, label, samplers, schedules, spacings
from unnoise.task.selfcheck.report import reason_of
from unnoise.tensor import Cond, Rng
from unnoise.times import Tabled, Times

STEPS = (1, 2, 3, 5, 7, 10, 33, 50, 100, 333, 600, 999, 1000)
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Exact(nn.Module):
    """The exact answer of a network in one prediction, computed in float32; what goes in and out has the given precision."""

    def __init__(self, schedule: Schedule, predict: Prediction, dtype: torch.dtype) -> None:
        super().__init__()
        self.predict, self.dtype = predict, dtype
        self.truth = Gaussian(schedule, torch.tensor([0.5, -0.3]), torch.diag(torch.tensor([0.25, 1.0])))
        self.known: dict[float, tuple[Tensor, ...]] = {}
        self.t = 0.0

    def level(self, schedule: Schedule, t: Tensor) -> Tensor:
        self.t = float(t[0])
        return t

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        if self.t not in self.known:
            t = torch.tensor([self.t], dtype=torch.float64)
            alpha, sigma = self.truth.schedule(t)
            gain = alpha * self.truth.values[0] / ((alpha**2) * self.truth.values[0] + sigma**2)
            self.known[self.t] = *(c.float() for c in self.predict(alpha, sigma)), gain.float(), alpha.float()
        c_skip, c_out, c_in, gain, alpha = self.known[self.t]
        x_t = x.to(self.dtype).float() / c_in
        mean = self.truth.means[0].float()
        axes = self.truth.vectors[0].float()
        x0 = mean + ((x_t - alpha * mean) @ axes * gain) @ axes.T
        return ((x0 - c_skip * x_t) / c_out).to(self.dtype).to(x.dtype)


def members() -> list[Sampler]:
    """Each sampler by its defaults and in each of its orders."""
    return [s for default in samplers(options=False) for s in changed(default) if s == default or "order=" in label(s)]


def cells() -> list[tuple[Schedule, str, Sampler, Times, int, str]]:
    """Every schedule with every prediction, sampler and precision; spacings and steps go round, coprime to one another."""
    found, kinds = [], schedules()
    rules = {True: spacings(), False: [rule for rule in spacings() if not isinstance(rule, Tabled)]}
    rounds = {True: itertools.count(), False: itertools.count()}
    for i, (schedule, name) in enumerate(itertools.product(kinds, prediction_room.__all__)):
        for j, sampler in enumerate(members()):
            tabled = hasattr(schedule, "betas")
            rule = rules[tabled][next(rounds[tabled]) % len(rules[tabled])]
            n = STEPS[(3 * i + 5 * j + i * j) % len(STEPS)]
            if n > 100 and (i + 2 * j) % 6:  # long walks are a sample
                n = STEPS[(i + j) % 9]
            if sampler.evaluations(9) is None:
                n = min(n, 3)  # it chooses its own steps between the times
            found.append((schedule, name, sampler, rule, n, tuple(TYPES)[(i + j) % 2]))
    return found


def run(schedule: Schedule, name: str, sampler: Sampler, rule: Times, n: int, kind: str) -> str:
    """ "finite", "not finite", or the reason why it was refused."""
    try:
        predict = predictions(schedule, name)
        network = Exact(schedule, predict, TYPES[kind])
        denoiser = Denoiser(network, schedule, predict, network.level)
        visited = rule(schedule, n)
        sampler.plan(schedule, visited)
    except ValueError as error:
        return reason_of(" ".join(str(error).split()))
    rng = Rng([1, 2])
    try:
        x = sampler(denoiser, prior(schedule, (2,), visited[0], rng), visited, rng=rng)
    except Exception as error:
        return f"not finite: {type(error).__name__} {error}"
    return "finite" if x.isfinite().all() else "not finite"


@torch.no_grad()
def main() -> int:
    start, counts, wrong, steps = time.perf_counter(), Counter[str](), [], 0
    table = cells()
    for k, cell in enumerate(table):
        schedule, name, sampler, rule, n, kind = cell
        outcome = run(*cell)
        counts[outcome] += 1
        steps += n
        if outcome.startswith("not finite"):
            wrong.append(f"{label(schedule)} {name} {label(sampler)} {label(rule)} {n} {kind}: {outcome}")
        if k % 200 == 0:
            print(f"{k} of {len(table)} cells, {time.perf_counter() - start:.0f} s, {len(wrong)} wrong", file=sys.stderr)
    finite = counts.pop("finite", 0)
    refused = {reason: count for reason, count in counts.most_common() if not reason.startswith("not finite")}
    print(json.dumps({
        "cells": len(table), "finite": finite, "refused": sum(refused.values()), "not_finite": len(wrong),
        "steps": steps, "seconds": round(time.perf_counter() - start, 1), "reasons": refused, "wrong": wrong,
    }, indent=1))  # fmt: skip
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
