"""Metrics: closed forms, sets against themselves, and what each of them must notice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

import unnoise.metric as metric
from unnoise.metric import Fidelity, Frechet, Memorization, Moments, frechet, interval, nearest, precision_recall, share_interval
from unnoise.metric.base import Gathered
from unnoise.metric.features import Classifier, train
from unnoise.tensor import Rng, permutation


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return Rng(seed).normal((n, d), "test", dtype=torch.float64)[0]


def moments(mean: Tensor, covariance: Tensor) -> Moments:
    made = Moments()
    made.n, made.mean, made.scatter = 3, mean.double(), 2 * covariance.double()
    return made


REFERENCES = {
    metric.Discrepancy: (normal(60, 4),),
    metric.Diversity: (normal(60, 4),),
    Fidelity: (normal(60, 4),),
    Frechet: (normal(60, 4),),
    metric.InceptionScore: (),
    metric.KernelDistance: (normal(60, 4),),
    metric.Marginals: (normal(60, 4),),
    Memorization: (normal(60, 4), normal(30, 4, 1)),
    metric.Recognition: (torch.full((4,), 0.25),),
    metric.SlicedWasserstein: (normal(60, 4),),
    metric.Spectrum: (normal(60, 4).reshape(60, 1, 4),),
}
MEMBERS = [getattr(metric, name) for name in metric.__all__ if isinstance(getattr(metric, name), type)]
SEEN = {  # what a metric is shown, of normal numbers (B, 4)
    metric.InceptionScore: lambda x: x.softmax(1),
    metric.Recognition: lambda x: x.argmax(1),
    metric.Spectrum: lambda x: x.reshape(-1, 1, 4),
}
METRICS = [member for member in MEMBERS if issubclass(member, metric.Metric) and member is not metric.Metric]


def shown(member: type, x: Tensor) -> Tensor:
    return SEEN.get(member, lambda x: x)(x)


@pytest.mark.parametrize("member", METRICS)
def test_parts_merge_and_order_does_not_matter(member: type) -> None:
    x = shown(member, normal(50, 4, 2))
    whole, parts, other = (member(*REFERENCES[member]) for _ in range(3))
    whole.update(x)
    shuffled = x[permutation(50, 0, "test")]
    parts.update(shuffled[:7])
    other.update(shuffled[7:])
    parts.merge(other)
    found, expected = parts.compute(), whole.compute()
    if member is Frechet:  # drawn through parts of the samples, which are other ones in another order
        low, high = whole.estimate()["frechet_infinity"][1:]
        assert low < found.pop("frechet_infinity") < high
        expected.pop("frechet_infinity")
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("member", METRICS)
@pytest.mark.parametrize("size", [1, 9, 50])
def test_the_size_of_batches_does_not_matter(member: type, size: int) -> None:
    x = shown(member, normal(50, 4, 2))
    whole, parts = member(*REFERENCES[member]), member(*REFERENCES[member])
    whole.update(x)
    for part in x.split(size):
        parts.update(part)
    assert parts.compute() == pytest.approx(whole.compute(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("member", METRICS)
def test_intervals_hold_their_value_and_bad_samples_are_refused(member: type) -> None:
    x = shown(member, normal(50, 4, 2))
    whole = member(*REFERENCES[member])
    with pytest.raises(ValueError):
        whole.compute()
    whole.update(x)
    for found in whole.estimate(0.9).values():
        assert found.low <= found.value <= found.high and found.low < found.high
    if x.is_floating_point():
        with pytest.raises(ValueError, match="not finite"):
            whole.update(x / 0)


@pytest.mark.parametrize("member", [m for m in METRICS if issubclass(m, Gathered)])
def test_metrics_that_keep_samples_keep_no_more_than_their_limit(member: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "limit", 40)
    x = normal(300, 4, 2)
    whole, parts, other = (member(*REFERENCES[member]) for _ in range(3))
    whole.update(x)
    for part in x.split(7):
        parts.update(part)
    assert torch.equal(whole.seen, parts.seen) and whole.seen.shape == (40, 4)
    other.update(x + 100)
    parts.merge(other)
    assert len(parts.seen) == 40 and 5 < int((parts.seen[:, 0] > 50).sum()) < 35


def test_moments_are_those_of_numpy() -> None:
    x = normal(500, 5) * 3 + 1e4
    streamed = Moments()
    for part in x.split(37):
        streamed.update(part)
    np.testing.assert_allclose(streamed.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(streamed.covariance, np.cov(x.T.numpy()), rtol=1e-10)


def test_frechet_of_commuting_gaussians_is_closed() -> None:
    a, b = torch.rand(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
    turn = torch.linalg.qr(normal(6, 6)).Q
    expected = 6 * 0.25 + float((a.sqrt() - b.sqrt()).square().sum())
    found = frechet(moments(torch.zeros(6), turn @ a.diag() @ turn.T), moments(torch.full((6,), 0.5), turn @ b.diag() @ turn.T))
    assert found == pytest.approx(expected, abs=1e-6)


def test_frechet_agrees_with_the_matrix_root_of_scipy() -> None:
    x, y = normal(300, 16) @ normal(16, 16, 5), normal(200, 16, 1) @ normal(16, 16, 6) + 0.3
    a, b = np.cov(x.T.numpy()), np.cov(y.T.numpy())
    expected = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(Moments(x), Moments(y)) == pytest.approx(expected, abs=1e-6, rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 17, 64])
def test_frechet_of_few_samples_never_fails(n: int) -> None:
    x, flat = normal(n, 48), normal(n, 48) * torch.eye(48, dtype=torch.float64)[0]
    for one in (x, flat, torch.zeros_like(x)):
        assert frechet(Moments(one), Moments(one)) == pytest.approx(0, abs=1e-6)
        assert frechet(Moments(one), Moments(one.flip(0))) == pytest.approx(0, abs=1e-6)
        assert np.isfinite(frechet(Moments(one), Moments(normal(n, 48, 1))))
    with pytest.raises(ValueError, match="at least 2"):
        frechet(Moments(x[:1]), Moments(x))


def test_fidelity_of_a_set_against_itself_is_perfect() -> None:
    x = normal(200, 8)
    assert precision_recall(x, x[permutation(200, 0, "test")]) == (1, 1)
    assert metric.density_coverage(x, x)[1] == 1


def test_recall_falls_with_lost_modes_and_precision_with_noise() -> None:
    modes = 6 * torch.eye(8, dtype=torch.float64)
    real, same = (modes.repeat(50, 1) + 0.3 * normal(400, 8, seed) for seed in (0, 1))
    lost = modes[:2].repeat(200, 1) + 0.3 * normal(400, 8, 2)
    noisy = same + 3 * normal(400, 8, 3)
    whole, few, blurred = (precision_recall(real, x) for x in (same, lost, noisy))
    assert min(whole) > 0.8
    assert few[0] > 0.8 and few[1] < 0.35
    assert blurred[0] < 0.2
    density, coverage = metric.density_coverage(real, same)
    assert 0.85 < density < 1.15 and coverage > 0.95
    assert metric.density_coverage(real, lost)[1] < 0.35
    with pytest.raises(ValueError, match="more than k"):
        precision_recall(real[:3], real)


def test_memorization_tells_copies_from_new_samples() -> None:
    data, held_out, new = normal(300, 4), normal(200, 4, 1), normal(250, 4, 2)
    fresh, copies = Memorization(data, held_out), Memorization(data, held_out)
    fresh.update(new)
    copies.update(data[:250] + 1e-3)
    seen = fresh.compute()
    assert seen["ratio"] == pytest.approx(1, abs=0.2) and seen["favour"] == pytest.approx(0.5, abs=0.1)
    caught = copies.compute()
    assert caught["ratio"] < 0.02 and caught["copies"] == 1 and caught["favour"] > 0.75
    distance, index = nearest(data[5:7], data)
    assert index.tolist() == [5, 6] and distance.tolist() == [0, 0]


def test_intervals_cover_and_repeat() -> None:
    truth = [interval(normal(60, 1, seed)[:, 0], resamples=300) for seed in range(40)]
    assert 33 <= sum(low < 0 < high for low, high in truth) <= 40
    assert truth[3] == interval(normal(60, 1, 3)[:, 0], resamples=300)
    assert share_interval(100, 100)[0] == pytest.approx(0.9630, abs=1e-4) and share_interval(0, 100)[0] == 0
    with pytest.raises(ValueError):
        interval(torch.ones(1))


def strokes(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy bars: across, down, or along a diagonal."""
    labels = torch.arange(n) % 3
    bars = torch.stack([torch.zeros(9, 12) for _ in range(3)])
    bars[0, 4], bars[1, :, 6], bars[2, range(9), range(9)] = 2, 2, 2
    return (bars[labels] - 1)[:, None] + 0.5 * Rng(seed, torch.arange(n)).normal((1, 9, 12), "test"), labels


def test_classifier_learns_repeats_and_returns_from_its_file(tmp_path) -> None:
    (x, labels), (new, truth) = strokes(120, 0), strokes(90, 1)
    state = torch.random.get_rng_state()
    classifier = train(x, labels, 3, steps=40, batch=32)
    assert classifier.accuracy(new, truth) > 0.95
    assert classifier.features(new).shape == (90, 64)
    assert torch.equal(state, torch.random.get_rng_state())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        again = train(x, labels, 3, steps=40, batch=32)
    assert again.digest == classifier.digest, "whatever state torch's generator is in"
    classifier.data = "digest"
    classifier.save(tmp_path / "classifier.safetensors")
    loaded = Classifier.load(tmp_path / "classifier.safetensors")
    assert torch.equal(loaded.features(new), classifier.features(new)) and loaded.data == "digest"
    (tmp_path / "bad").write_bytes(b"not a file of tensors")
    for path in (tmp_path / "bad", tmp_path / "none"):
        with pytest.raises(ValueError, match="not the file of features"):
            Classifier.load(path)


@pytest.mark.parametrize("shape", [(3, 8, 8), (4, 17, 30), (1, 100, 70)])
def test_classifier_takes_any_pictures(shape: tuple[int, ...]) -> None:
    assert Classifier(shape, 5).features(torch.zeros(2, *shape)).shape == (2, 64)


def test_classifier_refuses_what_it_cannot_take() -> None:
    for shape, classes in (((1, 7, 8), 3), ((16,), 3), ((1, 8, 8), 1)):
        with pytest.raises(ValueError):
            Classifier(shape, classes)
