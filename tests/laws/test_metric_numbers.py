"""Metrics against what is known: closed forms, other packages' arithmetic, simulations of their intervals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import unnoise.metric as metric
from tests.golden import metrics as peers
from unnoise.metric import Estimate, Frechet, Metric, Moments, frechet, mmd2, precision_recall
from unnoise.metric.fidelity import balls
from unnoise.metric.interval import around, mean_interval, share
from unnoise.tensor import Rng, permutation

TOLD = json.loads(Path(peers.__file__).with_suffix(".json").read_text("utf-8"))


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return Rng(seed, torch.arange(n)).normal((d,), "test", dtype=torch.float64)


@pytest.mark.parametrize("peer", ["pytorch-fid", "clean-fid", "torch-fidelity"])
def test_frechet_distance_is_that_of_other_packages(peer: str) -> None:
    a, b = (Moments(x) for x in peers.features())
    assert frechet(a, b) == pytest.approx(TOLD[f"{peer} frechet"], rel=1e-4)
    assert frechet(a, b) == pytest.approx(TOLD[f"{peer} frechet"], rel=1e-8)


@pytest.mark.parametrize("peer", ["clean-fid", "torch-fidelity"])
def test_kernel_distance_is_that_of_other_packages(peer: str) -> None:
    a, b = peers.features()
    assert mmd2(a[:500], b) == pytest.approx(TOLD[f"{peer} kid"], rel=1e-6)
    streamed = metric.KernelDistance(b)
    for part in a[:500].split(33):
        streamed.update(part)
    assert streamed.compute()["kid"] == pytest.approx(TOLD[f"{peer} kid"], rel=1e-4)


def test_inception_score_precision_and_recall_are_those_of_torch_fidelity() -> None:
    score = metric.InceptionScore()
    for part in peers.logits().softmax(1).split(41):
        score.update(part)
    assert score.compute()["inception_score"] == pytest.approx(TOLD["torch-fidelity inception score"], rel=1e-6)
    a, b = peers.features()
    assert precision_recall(a, b) == pytest.approx((TOLD["torch-fidelity precision"], TOLD["torch-fidelity recall"]), rel=1e-4)


@pytest.mark.parametrize("n", [2, 10, 300, 2048])
def test_frechet_never_fails_and_a_set_is_at_no_distance_from_itself(n: int) -> None:
    for x in (normal(n, 256), normal(n, 3) @ normal(3, 256, 1), torch.full((n, 256), 0.3)):
        whole = Frechet(x)
        for part in x[permutation(n, 0, "test")].split(97):
            whole.update(part)
        assert whole.compute()["frechet"] == pytest.approx(0, abs=1e-6)
        assert all(torch.isfinite(torch.tensor(list(found))).all() for found in whole.estimate().values())


def test_the_limit_of_frechet_is_that_of_infinitely_many_samples() -> None:
    a, b = torch.full((12,), 1.0).double(), torch.linspace(0.5, 2, 12).double()
    truth = 12 * 0.3**2 + float((a.sqrt() - b.sqrt()).square().sum())
    population = Moments()
    population.n, population.mean, population.scatter = 2, torch.zeros(12).double(), a.diag()
    plain, limit = torch.zeros(60), torch.zeros(60)
    for seed in range(60):
        one = Frechet(population)
        one.update(normal(400, 12, seed) * b.sqrt() + 0.3)
        found = one.compute()
        plain[seed], limit[seed] = found["frechet"] - truth, found["frechet_infinity"] - truth
    error = float(plain.std() / 60**0.5)
    assert float(plain.mean()) > 6 * error  # biased
    assert abs(float(limit.mean())) < 4 * error


REFERENCE = normal(400, 6, 999)


def shifted(n: int, seed: int) -> Tensor:
    """Samples that differ from the reference in mean, scale and shape."""
    x = normal(n, 6, seed)
    return 1.3 * x + 0.4 + 0.2 * x.square()


def kid() -> Metric:
    return metric.KernelDistance(REFERENCE)


NUMBERS: dict[str, Callable[[], Metric]] = {
    "frechet": lambda: Frechet(REFERENCE),
    "kid": kid,
    "mmd": lambda: metric.Discrepancy(REFERENCE),
    "sliced_wasserstein": lambda: metric.SlicedWasserstein(REFERENCE),
    "precision": lambda: metric.Fidelity(REFERENCE),
    "diversity": lambda: metric.Diversity(REFERENCE),
    "vendi": lambda: metric.Diversity(REFERENCE),
    "detail": lambda: metric.Spectrum(REFERENCE.reshape(-1, 1, 6)),
    "spectrum": lambda: metric.Spectrum(REFERENCE.reshape(-1, 1, 6)),
    "marginal": lambda: metric.Marginals(REFERENCE),
    "contrast": lambda: metric.Marginals(REFERENCE),
    "inception_score": metric.InceptionScore,
    "class_distance": lambda: metric.Recognition(torch.full((6,), 1 / 6)),
}
SEEN: dict[str, Callable[[Tensor], Tensor]] = {
    "detail": lambda x: x.reshape(-1, 1, 6),
    "spectrum": lambda x: x.reshape(-1, 1, 6),
    "inception_score": lambda x: x.softmax(1),
    "class_distance": lambda x: (x * torch.linspace(0.5, 1.5, 6).double()).argmax(1),
}


def estimates(name: str, n: int, seeds: range) -> list[Estimate]:
    found = []
    for seed in seeds:
        one = NUMBERS[name]()
        one.update(SEEN.get(name, lambda x: x)(shifted(n, seed)))
        found.append(one.estimate(0.9)[name])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NUMBERS)
def test_nine_of_ten_intervals_hold_the_number_that_samples_have_on_the_average(name: str) -> None:
    found = estimates(name, 250, range(400))
    truth = sum(one.value for one in found) / len(found)
    covered = sum(one.low <= truth <= one.high for one in found) / len(found)
    assert 0.85 <= covered <= 0.95


def test_intervals_of_means_and_shares_cover() -> None:
    x = normal(240 * 80, 1)[:, 0].reshape(240, 80).exp()
    held = [low <= 1.6487 <= high for low, high in (mean_interval(one, 0.9) for one in x)]
    assert 0.83 <= sum(held) / 240 <= 0.95  # of a skewed law
    held = [one.low <= 0.1587 <= one.high for one in (share(row > 1, 0.9) for row in normal(240 * 80, 1, 5).reshape(240, 80))]
    assert 0.85 <= sum(held) / 240 <= 0.96
    held = [low <= 0 <= high for low, high in (mean_interval(one, 0.9) for one in normal(240 * 3000, 1, 6).reshape(240, 3000))]
    assert 0.85 <= sum(held) / 240 <= 0.95
    assert around(3, torch.zeros(5)) == Estimate(3, 3, 3)


def test_the_missing_and_the_wrong_classes_are_named() -> None:
    found = torch.arange(900) % 9
    one = metric.Recognition(torch.full((10,), 0.1))
    one.update(found, torch.arange(900) % 9)
    assert one.missing == [9]
    assert one.compute() == pytest.approx({"class_distance": 0.1, "accuracy": 1}, abs=1e-7)
    none = metric.Recognition(torch.full((10,), 0.1))
    none.update(found, torch.full((900,), 10))
    assert "accuracy" not in none.compute()


def test_spectra_tell_blur_from_noise_and_marginals_colour_from_both() -> None:
    x = Rng(1, torch.arange(300)).normal((3, 16, 16), "test").cumsum(2).cumsum(3) / 16
    blur = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    noise = x + 0.3 * Rng(2, torch.arange(300)).normal((3, 16, 16), "test")
    tinted = x + torch.tensor([0.0, 2.0, 0.0])[:, None, None]
    found = {}
    for name, some in (("same", x), ("blur", blur), ("noise", noise), ("tinted", tinted)):
        one, other = metric.Spectrum(x), metric.Marginals(x)
        one.update(some)
        other.update(some)
        found[name] = {**one.compute(), **other.compute()}
    assert found["same"]["detail"] == found["same"]["spectrum"] == pytest.approx(0, abs=1e-6)
    assert found["blur"]["detail"] < -3 < 3 < found["noise"]["detail"]
    assert found["tinted"]["detail"] == pytest.approx(0, abs=1e-3)
    assert found["tinted"]["marginal"] > 5 * found["noise"]["marginal"] > 5 * found["same"]["marginal"]


def test_diversity_counts_kinds() -> None:
    kinds = 20 * torch.eye(8).double()
    data = kinds.repeat(50, 1) + 0.1 * normal(400, 8)
    for k in (2, 4, 8):
        one = metric.Diversity(data - data.mean(0))
        one.update(torch.cat([kinds[:k], -kinds[:k]]).repeat(400 // (2 * k), 1))
        assert one.compute()["vendi"] == pytest.approx(k, rel=0.05)


def test_sliced_wasserstein_of_a_shift_is_known() -> None:
    x = normal(500, 3)
    one = metric.SlicedWasserstein(x)
    one.update(x + torch.tensor([0.6, 0.0, 0.0]).double())
    mean = one.directions[:, 0].square().mean().sqrt()
    assert one.compute()["sliced_wasserstein"] == pytest.approx(0.6 * float(mean), rel=1e-5)


def test_balls_of_a_line_are_counted_by_hand() -> None:
    real, samples = torch.tensor([[0.0], [1.0], [2.0], [10.0]]), torch.tensor([[0.4], [5.0], [30.0]])
    found = balls(real, samples, k=1, k_density=1)  # radii 1, 1, 1, 8; 4.6, 4.6, 25
    assert found.precise.tolist() == [True, True, False] and found.inside.tolist() == [2, 1, 0]
    assert found.recalled.tolist() == [True, True, True, True] and found.covered.tolist() == [True, True, False, True]
