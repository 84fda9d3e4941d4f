"""Laws of codecs: what is encoded comes back; offset noise is the noise that it says, in training and in walks alike."""

from __future__ import annotations

import pytest
import torch

from unnoise import codec
from unnoise.codec import Codec, Offset
from unnoise.denoiser import Gaussian
from unnoise.model import Model
from unnoise.recipe import Recipe, RecipeError
from unnoise.sampler import DDIM, Ancestral, Sampler, prior
from unnoise.schedule import VP
from unnoise.tensor import Rng

ARGUMENTS = {"Scaled": {"factor": 0.5}}
ALL = [getattr(codec, name)(**ARGUMENTS.get(name, {})) for name in codec.__all__ if name != "Codec"]
PLACES, STRENGTH = 12, 0.6
GAIN = (1 + STRENGTH**2 * PLACES) ** 0.5


@pytest.mark.parametrize("member", ALL, ids=lambda member: type(member).__name__)
@pytest.mark.parametrize("shape", [(2,), (3, 6, 4), (1, 5)])
def test_what_is_encoded_comes_back(member: Codec, shape: tuple[int, ...]) -> None:
    x = Rng(range(4)).normal(shape, "x", dtype=torch.float64)
    z = member.encode(x)
    assert tuple(z.shape[1:]) == member.shape(shape)
    assert torch.allclose(member.decode(z), x, atol=1e-12)
    assert torch.allclose(member.encode(x[1:2]), z[1:2], atol=1e-12)


def covariance(rows: torch.Tensor) -> torch.Tensor:
    return (rows - rows.mean(0)).T @ (rows - rows.mean(0)) / len(rows)


def test_decoded_noise_has_the_covariance_of_offset_noise() -> None:
    """Exactly, as a linear map: L L^T = I + strength^2 1 1^T in each channel, and nothing between channels."""
    basis = torch.eye(2 * PLACES, dtype=torch.float64).reshape(-1, 2, 3, 4)
    linear = Offset(STRENGTH).decode(basis).flatten(1)  # rows: L^T
    within = torch.eye(PLACES) + STRENGTH**2 * torch.ones(PLACES, PLACES)
    assert torch.allclose(linear.T @ linear, torch.block_diag(within, within).double(), atol=1e-12)


def test_it_is_the_law_of_a_shared_draw() -> None:
    """eps + strength (one draw a channel), as training with `Denoising.offset` has it."""
    rng = Rng(range(20_000))
    shared = rng.normal((PLACES,), "eps") + STRENGTH * rng.normal((1,), "offset")
    decoded = Offset(STRENGTH).decode(rng.normal((1, PLACES), "other"))[:, 0]
    assert torch.allclose(covariance(shared), covariance(decoded), atol=0.08)


@pytest.mark.parametrize("sampler", [DDIM(), Ancestral()], ids=repr)
def test_walks_end_in_the_data_whatever_their_brightness(sampler: Sampler) -> None:
    """Gaussian data whose means vary far more than their places: exact denoiser of the latents, latents back to data.

    The control begins where training with an offset never was, at white noise: the brightness comes out a GAIN-th of what it is.
    """
    bright, fine, n = 3.0, 0.5, 2000
    ones = torch.ones(PLACES, PLACES, dtype=torch.float64)
    data = fine**2 * torch.eye(PLACES, dtype=torch.float64) + bright**2 * ones
    inverse = Offset(STRENGTH).encode(torch.eye(PLACES, dtype=torch.float64)[:, None])[:, 0]
    exact = Gaussian(VP(), torch.zeros(PLACES, dtype=torch.float64), inverse.T @ data @ inverse)
    times, rng = torch.linspace(0.999, 0.002, 50).tolist(), Rng(range(n))
    z = prior(VP(), (PLACES,), times[0], rng, torch.float64)
    ends = []
    for start in (z, Offset(STRENGTH).encode(z[:, None])[:, 0]):
        x = Offset(STRENGTH).decode(sampler(exact, start, times, None, rng)[:, None])[:, 0]
        ends.append(float(x.mean(1).std()))
    true = (bright**2 + fine**2 / PLACES) ** 0.5
    assert abs(ends[0] / true - 1) < 0.1
    assert ends[1] < 0.6 * true if sampler == DDIM() else True


def test_rules_that_would_cut_its_latents_are_refused() -> None:
    changes = ["codec=Offset", "network.UNet.width=8", "network.UNet.heads=1"]
    with pytest.raises(RecipeError, match=r"\[guidance\.Clip\] high = 1 cuts latents of codec Offset"):
        Model(Recipe.read("digits", changes))
    model = Model(Recipe.read("digits", [*changes, "guidance.Clip.high=2.0", "guidance.Clip.low=-2.0"]))
    x = model.domain.dataset("train").batch(torch.arange(200))["x"]
    assert 1 < model.codec.encode(x).abs().max() < 2
    assert model.sample(2, steps=2).shape == (2, 1, 8, 8)
