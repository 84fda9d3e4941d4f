"""Coarse values as linear measurements: what is true lies in its interval, and methods do better than what they are given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unnoise.denoiser import Gaussian
from unnoise.operator import JPEG, Clip, Crop, GaussianBlur, Identity, Measurement, Operator, Quantize, intervals
from unnoise.schedule import VP
from unnoise.tensor import Rng

COARSE: list[Operator] = [Quantize(3), Quantize(9), Clip(-0.3, 0.4), JPEG(10), JPEG(80)]
SHAPES = [(1, 8, 8), (3, 16, 32), (2, 24, 16)]

coarse = pytest.mark.parametrize("operator", COARSE, ids=repr)


def pictures(shape: tuple[int, ...]) -> Tensor:
    return 2 * Rng(range(2)).uniform(shape, "x", dtype=torch.float64) - 1


@coarse
@pytest.mark.parametrize("shape", SHAPES)
def test_the_truth_lies_in_its_interval(operator: Operator, shape: tuple[int, ...]) -> None:
    x = pictures(shape)
    found = intervals(Measurement(operator, operator(x), 0.01), x[:1])
    assert found.operator.linear and found.std == 0.01
    assert (found.residual(x).abs() <= 3**0.5 * found.std * (1 + 1e-6)).all()


@coarse
@pytest.mark.parametrize("shape", [*SHAPES, (1, 13, 10)])
def test_adjoints(operator: Operator, shape: tuple[int, ...]) -> None:
    x = pictures(shape)
    linear = intervals(Measurement(operator, operator(x)), x[:1]).operator
    y = linear(x)
    v = Rng(range(len(x))).normal(y.shape[1:], "y", dtype=torch.float64)
    torch.testing.assert_close((y * v).sum(), (x * linear.adjoint(v, x)).sum(), rtol=1e-5, atol=1e-9)


@coarse
def test_of_a_part(operator: Operator) -> None:
    """Of the inside of a picture, and where nothing is coarse."""
    x = pictures((1, 16, 16))
    measured = Measurement(operator @ Crop(0, 0, 8, 8), operator(x[..., :8, :8]), 0.01)
    found = intervals(measured, x[:1])
    assert found.operator(x).shape == found.y.shape and (found.residual(x).abs() <= 3**0.5 * 0.01 * (1 + 1e-6)).all()
    for fine in (Identity(), GaussianBlur(1.0), GaussianBlur(1.0) @ Crop(1, 1, 1, 1)):
        kept = Measurement(fine, fine(x), 0.1)
        assert intervals(kept, x) is kept


@coarse
def test_what_is_coarse_becomes_finer(operator: Operator) -> None:
    """Of smooth pictures the exact mean, given the linear measurement, is nearer to them than what was measured."""
    places = torch.arange(8, dtype=torch.float64)
    near = (-((places[:, None] - places) ** 2) / 8).exp()
    law = Gaussian(VP(), torch.zeros(64), 0.3 * torch.kron(near, near) + 1e-4 * torch.eye(64))
    draws = Rng(range(8)).normal((64,), "truth", dtype=torch.float64)
    off = torch.zeros(2, dtype=torch.float64)
    for x in (draws @ torch.linalg.cholesky(law.covariances[0]).T).reshape(8, 1, 1, 8, 8).clamp(-1, 1):
        measured = intervals(Measurement(operator, operator(x), 0.002), x)
        rows = measured.operator(torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)).flatten(1).T
        mean = law.given(rows, measured.y.flatten(), measured.std).means[0].reshape(x.shape)
        off += torch.stack([(mean - x).norm(), (operator(x) - x).norm()])
    assert off[0] < 0.95 * off[1]
