"""Likelihoods: exact for laws that are known, bounds that are bounds, and bits that mean the same at any depth."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unnoise.cli.main import app
from unnoise.denoiser import Gaussian, Mixture
from unnoise.likelihood import Flow, bits, bound, dequantize, normal, prior_kl, width
from unnoise.loss import Decoder
from unnoise.loss.vlb import Variance
from unnoise.schedule import VE, VP, Cosine, LinearBetas, Schedule, SubVP
from unnoise.schedule import Flow as Straight
from unnoise.task.likelihood import Wish, find, measure, walk
from unnoise.task.train import build, read
from unnoise.tensor import Rng

SCHEDULES: list[Schedule] = [VP(t_min=1e-5), SubVP(t_min=1e-3), VE(), Cosine(), Straight(t_min=1e-4), LinearBetas(1000)]
WEIGHTS, MEANS = torch.tensor([0.3, 0.7]), torch.tensor([[0.6, -0.4, 0.0], [-0.5, 0.2, 0.3]])
COVARIANCES = torch.stack([torch.eye(3) * 0.2, torch.tensor([[0.4, 0.2, 0.0], [0.2, 0.4, 0.1], [0.0, 0.1, 0.3]])])


def mixture(schedule: Schedule) -> Mixture:
    return Mixture(schedule, WEIGHTS, MEANS, COVARIANCES)


def draws(n: int) -> Tensor:
    part = (Rng(range(n)).uniform((), "part") > 0.3).long()
    eps = Rng(range(n)).normal((3,), "data", dtype=torch.float64)
    roots = torch.linalg.cholesky(COVARIANCES.double())
    return MEANS.double()[part] + torch.einsum("bde,be->bd", roots[part], eps)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_flow_has_the_likelihood_of_a_mixture(schedule: Schedule) -> None:
    """Within 1e-3 nats a dimension of the closed form at the time of the data."""
    exact, x = mixture(schedule), draws(8)
    found = Flow("exact", rtol=1e-5, atol=1e-5)(exact, x)
    spread = float((sum(c**2 for c in schedule(torch.ones(1).double()))).sqrt())  # type: ignore[union-attr]
    # The prior is not quite the law at t = 1; nothing but that is between the two.
    prior = torch.distributions.Normal(*torch.tensor([0.0, spread], dtype=torch.float64)).log_prob(found.latent).sum(1)
    gap = prior - exact.log_prob(found.latent, 1.0)
    assert ((found.log_prob - gap - exact.log_prob(x, schedule.t_min)) / 3).abs().max() < 1e-3


@pytest.mark.parametrize("schedule", [VP(t_min=1e-5), Cosine(), Straight(t_min=1e-4)], ids=repr)
def test_the_likelihood_of_normal_data_is_that_of_their_law(schedule: Schedule) -> None:
    covariance = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(torch.tensor([0.1, -0.2], dtype=torch.float64), covariance)
    x = law.mean + Rng(range(10)).normal((2,), "x", dtype=torch.float64) @ torch.linalg.cholesky(covariance).T
    found = Flow("exact", rtol=1e-5, atol=1e-5)(Gaussian(schedule, law.mean, covariance), x)
    assert ((found.log_prob - law.log_prob(x)) / 2).abs().mean() < 1e-3


def test_random_directions_give_the_trace_in_the_mean() -> None:
    exact, x = mixture(Cosine()), draws(1).expand(400, 3)
    one = Flow("exact")(exact, x[:1]).log_prob
    many = Flow("hutchinson")(exact, x, Rng(range(400))).log_prob
    assert float(many.std()) > 0 and abs(float((many - one).mean())) < 4 * float(many.std()) / 20
    four = Flow("hutchinson", probes=4)(exact, x, Rng(range(400))).log_prob
    assert float(four.std()) == pytest.approx(float(many.std()) / 2, rel=0.25)
    with pytest.raises(ValueError, match="rng"):
        Flow()(exact, x)


def test_a_sample_has_its_likelihood_in_any_company() -> None:
    exact, x, flow = mixture(VP()), draws(5), Flow()
    together, alone = flow(exact, x, Rng(range(5))), flow(exact, x[3:4], Rng([3]))
    assert torch.allclose(together.log_prob[3:4], alone.log_prob, rtol=1e-9)


def test_a_decoder_is_a_probability() -> None:
    """Over all values it sums to 1, whatever mean, deviation and depth; no probability is lost to rounding."""
    for levels in (2, 17, 256):
        x = torch.linspace(-1, 1, levels, dtype=torch.float64)[:, None]
        mean, log_std = torch.tensor([[-3.0, 0.0, 0.3, 1.0]]).double(), torch.tensor([[-6.0, -2.0, 0.0, 2.0]]).double()
        for m in mean.T:
            assert torch.allclose(
                Decoder(levels)(x, m.expand_as(x), log_std.expand(levels, 4)).exp().sum(0), torch.ones(4).double()
            )
    far = Decoder()(torch.tensor([0.5, -0.5]).double(), torch.tensor([-0.9, 0.9]).double(), torch.full((2,), -5.0).double())
    assert far.isfinite().all() and float(far[0]) == pytest.approx(float(far[1]), rel=0.1) and float(far[0]) < -1000


def test_the_published_decoder_is_near_the_exact_one() -> None:
    x, mean = torch.linspace(-1, 1, 256).double(), torch.linspace(-0.9, 0.9, 256).double()
    log_std = torch.full_like(x, -0.5)
    assert (Decoder()(x, mean, log_std) - Decoder(cdf="tanh")(x, mean, log_std)).abs().max() < 0.03


def quantised(x: Tensor, levels: int) -> Tensor:
    return ((x.clamp(-1, 1) + 1) / 2 * (levels - 1)).round() / (levels - 1) * 2 - 1


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("schedule", [LinearBetas(200), VP(), VE(sigma_max=5.0)], ids=repr)
def test_the_bound_is_above_the_exact_likelihood(schedule: Schedule, variance: Variance) -> None:
    """And finer walks come nearer to it."""
    covariance = torch.tensor([[0.1, 0.06], [0.06, 0.1]], dtype=torch.float64)
    exact = Gaussian(schedule, torch.zeros(2), covariance)
    x = quantised(Rng(range(400)).normal((2,), "x", dtype=torch.float64) @ torch.linalg.cholesky(covariance).T, 256)
    truth = float(-(exact.log_prob(x, 0.0) / 2 + math.log(width(256))).mean())
    few, many = (bound(exact, x, walk(schedule, n, width(256)), Rng(range(400)), variance=variance).total for n in (20, 100))
    assert float(few.mean()) > float(many.mean()) > truth - 4 * float(many.std()) / 20


def test_the_bound_has_three_kinds_of_terms_and_drawn_steps_have_its_mean() -> None:
    schedule, x = LinearBetas(100), quantised(draws(200), 256)
    exact, times = mixture(schedule), walk(schedule, None, width(256))
    whole = bound(exact, x, times, Rng(range(200)))
    drawn = bound(exact, x, times, Rng(range(200)), draws=10)
    assert whole.steps is not None and whole.steps.shape == (200, 100)
    assert torch.allclose(whole.total, whole.prior + whole.steps.sum(1))
    assert torch.allclose(whole.prior, prior_kl(schedule, x).mean(1)) and torch.equal(whole.reconstruction, drawn.reconstruction)
    gap = drawn.denoising - whole.denoising
    assert abs(float(gap.mean())) < 4 * float(gap.std()) / 200**0.5


def test_8_and_16_bits_differ_by_the_width_of_a_bin() -> None:
    """The same pictures stored in 16 bits (257 times the 8-bit value): the density is one, the probability 1 / 257 of it."""
    x = quantised(draws(100), 256)
    assert torch.equal(quantised(x, 65536), x)
    exact, offset = mixture(Cosine()), math.log2(65535 / 255)
    found = []
    for levels in (256, 65536):
        spread = dequantize(x, width(levels), Rng(range(100)))
        density = Flow("exact")(exact, spread).log_prob
        law = Decoder(levels)(x, 0 * x, torch.zeros_like(x)).mean() / -math.log(2)
        found.append((float(bits(density, 3, width(levels)).mean()), float(law)))
    assert found[1][0] - found[0][0] == pytest.approx(offset, abs=2e-3)
    inside = Decoder(65536)(torch.zeros(1), torch.zeros(1), torch.zeros(1)) - Decoder()(
        torch.zeros(1), torch.zeros(1), torch.zeros(1)
    )
    assert float(inside) / -math.log(2) == pytest.approx(offset, abs=2e-3)


def test_the_normal_law_knows_its_own() -> None:
    x = draws(4000)[:, :2]
    found, law = normal(x, x[:5], 0.0), torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0))
    assert torch.allclose(found, law.log_prob(x[:5]), atol=1e-6)
    assert float(normal(x, x, 0.5).mean()) < float(normal(x, x, 0.0).mean())


def test_the_verb_tells_of_a_run_and_of_each_item(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["network.UNet.width=8", "network.UNet.multipliers=[1]", "network.UNet.attention=[]", "schedule.CosineBetas.steps=20"]
    model = build(read("iddpm-digits", None, small), 0)
    model.save(tmp_path)
    asked = [str(tmp_path), "test", "-n", "6", "--draws", "4", "--tolerance", "0.05", "--threads", "1", "--device", "cpu"]
    app(["likelihood", *asked, "--json", str(tmp_path / "a.json"), "--csv", str(tmp_path / "a.csv")], standalone_mode=False)
    told = json.loads((tmp_path / "a.json").read_text())
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert told["items"] == 6 == len(rows) and sorted(row["index"] for row in told["samples"]) == list(range(6))
    worst = [row["bound"] for row in told["samples"]]
    assert worst == sorted(worst, reverse=True) and sum(worst) / 6 == pytest.approx(told["bound"]["bits_per_dim"], abs=1e-4)
    kinds = sum(told["bound"][kind] for kind in ("prior", "denoising", "reconstruction"))
    assert kinds == pytest.approx(told["bound"]["bits_per_dim"], abs=1e-4) and told["bound"]["variance"] == "learned"
    assert told["flow"]["error"] > 0 and told["normal law"]["bits_per_dim"] > 0
    assert "least probable" in capsys.readouterr().out
    wrong: list[dict[str, Any]] = [{"method": "magic"}, {"levels": 1}, {"draws": -1}]
    for options in wrong:
        with pytest.raises(ValueError, match="expected"):
            Wish(**options)
    with pytest.raises(ValueError, match="expected train"):
        find(model, "more")
    with pytest.raises(ValueError, match="has 20"):
        measure(model, "test", Wish(steps=21))


def test_pictures_from_elsewhere_take_the_form_of_the_models_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was never seen, of other sizes and kinds: an item a file, told by its name."""
    from PIL import Image

    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path / "cache"))
    for folder, size, mode in (("own", 8, "L"), ("other", 12, "RGB")):
        for i in range(12):
            path = tmp_path / folder / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = (Rng(i).uniform((size, size), folder)[0] * 255).byte().numpy()
            Image.fromarray(pixels).convert(mode).save(path)
    small = ["network.UNet.width=8", "network.UNet.multipliers=[1]", "network.UNet.attention=[]", "schedule.CosineBetas.steps=20"]
    model = build(read("iddpm-mnist", tmp_path / "own", [*small, "domain.Images.size=8"]), 0)
    told = measure(model, str(tmp_path / "other"), Wish(method="bound", draws=2))
    assert told["items"] == 12 and told["dimensions"] == 64
    assert {row["name"] for row in told["samples"]} == {f"{i}.png" for i in range(12)}
