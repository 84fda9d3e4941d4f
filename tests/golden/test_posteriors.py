"""What methods for inverse problems draw, against the posteriors in closed form of golden references."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from unnoise.guidance import MMPS, Guided
from unnoise.operator import Matrix, Measurement
from unnoise.sampler import Twisted, UniPC, prior
from unnoise.schedule import VP
from unnoise.tensor import Rng
from unnoise.times import LogSNR

from . import harness, truth

ROWS = 300


def problems(goldens: Path) -> Iterator[tuple[harness.Case, Measurement]]:
    """Every case with a posterior, and its measurement."""
    for item in harness.items(goldens):
        for case in harness.cases(goldens, item):
            if {"A", "y"} <= set(case.inputs) and "prior" in case.params:
                y = case.inputs["y"][None]
                yield case, Measurement(Matrix(case.inputs["A"]), y, float(case.shared("inverse/sigma_y")))


def test_a_guided_walk_is_the_posterior_of_normal_data(goldens: Path) -> None:
    """On normal data the walk is linear in its start: the images of 0 and of the axes tell the law of what it draws."""
    found = 0
    for case, measured in problems(goldens):
        if case.params["prior"] == "mixture":
            continue
        of = truth.mixture(case, VP(), first_only=True)
        width = of.means.shape[1]
        starts = torch.cat([torch.zeros(1, width), torch.eye(width)]).double()
        rule = MMPS(measured, iterations=measured.y.shape[1] + 2)
        ends = UniPC(3)(Guided(of, rule), starts, LogSNR()(VP(), 150))
        gains = ends[1:] - ends[0]
        near(ends[0], case.outputs["posterior_mean"], 0.01)
        near(gains.mT @ gains, case.outputs["posterior_cov"], 0.01)
        found += 1
    assert found or not list(problems(goldens))


def test_particles_draw_the_posterior_of_a_mixture(goldens: Path) -> None:
    """Within four standard errors, where there are few values."""
    for case, measured in problems(goldens):
        if case.params["prior"] != "mixture" or len(case.outputs["posterior_mean"]) > 4:
            continue
        of, rng = truth.mixture(case, VP()), Rng(range(ROWS))
        x = prior(VP(), (len(case.outputs["posterior_mean"]),), 1.0, rng, torch.float64)
        found = Twisted(measured, 16)(of, x, LogSNR()(VP(), 100), rng=rng)
        covariance = case.outputs["posterior_cov"]
        assert (found.mean(0) - case.outputs["posterior_mean"]).norm() < 4 * (covariance.trace() / ROWS) ** 0.5
        near(torch.cov(found.T), covariance, 4 * (2 / ROWS) ** 0.5)


def near(found: Tensor, expected: Tensor, share: float) -> None:
    """Within a share of the largest value."""
    assert (found - expected).abs().max() <= share * expected.abs().max(), (found, expected)
