"""Laws of the averages whose length is chosen after training."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training import STORY, At, Points, denoise, network, outcome, send, silent

from unnoise.tensor import Rng
from unnoise.train import Power, Trainer, reconstruct
from unnoise.train.power import LONGEST, coefficients, exponent, mismatch, width
from unnoise.train.snapshots import due, keep, kept

TRACKED = (0.05, 0.1)
OTHERS = {0.02: 0.05, 0.03: 0.02, 0.04: 0.01, 0.075: 0.005, 0.15: 0.005, 0.2: 0.01}  # length: error, of 32 snapshots


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.2, 0.28])
def test_a_length_is_the_deviation_of_its_profile(length):
    gamma = exponent(length)
    assert width(gamma) == pytest.approx(length, rel=1e-9)
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    p = (gamma + 1) * u**gamma
    mean = (p * u).mean()
    assert float((p * (u - mean) ** 2).mean().sqrt()) == pytest.approx(length, rel=1e-4)


@pytest.mark.parametrize("length", [0, -0.1, LONGEST, 1, math.nan])
def test_other_lengths_are_refused(length):
    with pytest.raises(ValueError, match="the length of an average"):
        exponent(length)
    with pytest.raises(ValueError, match="the length of an average"):
        Trainer(10, 1, ema_lengths=[length])


def path(steps: int, size: int = 200) -> torch.Tensor:
    """Weights on their way, (steps, size): a drift that slows down, and a walk about it."""
    walk = Rng(3).normal((steps, size), "walk", dtype=torch.float64)[0].cumsum(0) / steps**0.5
    return (torch.arange(1, steps + 1, dtype=torch.float64)[:, None] / steps).sqrt() * 2 + walk


def averaged(weights: torch.Tensor, length: float) -> torch.Tensor:
    """The average after each step, (steps, size), of its definition: shares that a step's own decay and all later ones leave."""
    model = nn.Linear(1, weights.shape[1], bias=False).double()
    average, found = Power(model, length), []
    for step, weight in enumerate(weights, 1):
        model.weight.data = weight[:, None]
        average.update(model, step)
        found.append(average.weights["weight"][:, 0].clone())
    return torch.stack(found)


def test_an_average_weighs_by_a_power_of_the_step():
    weights, gamma = path(400), exponent(0.1)
    tau = torch.arange(1, 401, dtype=torch.float64)
    shares = tau ** (gamma + 1) - (tau - 1) ** (gamma + 1)  # the integral of the profile over each step
    torch.testing.assert_close(averaged(weights, 0.1)[-1], shares @ weights / shares.sum(), rtol=1e-9, atol=1e-9)


def test_of_two_lengths_all_others_are_made():
    steps, count = 2048, 32
    weights = path(steps)
    ends = [step for step in range(1, steps + 1) if due(step, steps, count)]
    assert len(ends) == count and ends[-1] == steps
    runs = {length: averaged(weights, length) for length in TRACKED}
    known = [(step, length) for step in ends for length in TRACKED]
    rows = torch.stack([runs[length][step - 1] for step, length in known])
    for length in TRACKED:
        torch.testing.assert_close(coefficients(known, steps, length) @ rows, runs[length][-1], rtol=1e-8, atol=1e-8)
        assert mismatch(known, steps, length) < 1e-6
    for length, error in OTHERS.items():
        made, true = coefficients(known, steps, length) @ rows, averaged(weights, length)[-1]
        moved = (weights[-1] - true).norm()  # what averaging does at all
        assert (made - true).norm() < error * moved
        assert mismatch(known, steps, length) < error


def test_snapshots_are_evenly_spaced_and_the_last_is_the_end():
    for steps, count in ((100, 32), (32, 32), (7, 32), (1000, 1)):
        ends = [step for step in range(1, steps + 1) if due(step, steps, count)]
        assert len(ends) == min(steps, count) and ends[-1] == steps
        gaps = {b - a for a, b in zip([0, *ends], ends, strict=False)}
        assert max(gaps) - min(gaps) <= 1


def test_training_keeps_averages_and_learns_the_same(tmp_path):
    data, model, lengths = Points(), network(), []

    class Track:
        every = 1
        direct = {length: Power(model, length) for length in (*TRACKED, 0.075)}

        def __call__(self, state):
            for one in self.direct.values():
                one.update(state.model, state.step)

    options = {**STORY, "decay": "constant"}
    hook = Track()
    Trainer(96, 8, **options, ema_lengths=TRACKED).fit(model, denoise, data, tmp_path / "a", hooks=[hook], say=silent)
    plain = network()
    Trainer(96, 8, **options).fit(plain, denoise, data, tmp_path / "b", say=silent)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    assert not (tmp_path / "b" / "averages").exists() and len(kept(tmp_path / "a")) == 32
    told = json.loads((tmp_path / "b" / "state" / "step-96" / "state.json").read_text())["options"]
    assert not [name for name in told if "ema_lengths" in name or "ema_snapshots" in name]
    lengths = list(hook.direct)
    for length, made in zip(lengths, reconstruct(tmp_path / "a", lengths), strict=True):
        for name, weight in hook.direct[length].weights.items():
            moved = (weight - dict(network().named_parameters())[name]).abs().max()
            limit = 5e-4 * weight.abs().max() if length in TRACKED else 0.01 * moved + 1e-3 * weight.abs().max()
            assert (made[name] - weight).abs().max() < limit  # half precision, and the mismatch of profiles


def test_a_stopped_run_keeps_the_same_averages(tmp_path):
    options = {**STORY, "ema_lengths": TRACKED, "ema_snapshots": 5}
    Trainer(20, 8, **options).fit(network(), denoise, Points(), tmp_path / "a", say=silent)
    with pytest.raises(KeyboardInterrupt):
        stop = At(9, send(2))
        Trainer(20, 8, **options).fit(network(), denoise, Points(), tmp_path / "b", hooks=[stop], say=silent)
    Trainer(20, 8, **options).fit(network(), denoise, Points(), tmp_path / "b", say=silent)
    assert outcome(tmp_path / "a", 20)[:2] == outcome(tmp_path / "b", 20)[:2]
    for (step, one), (_, other) in zip(kept(tmp_path / "a"), kept(tmp_path / "b"), strict=True):
        assert one.read_bytes() == other.read_bytes(), step
    with pytest.raises(ValueError, match="ema_lengths was"):
        Trainer(30, 8, **{**options, "ema_lengths": (0.05,)}).fit(network(), denoise, Points(), tmp_path / "b", say=silent)


def test_what_outgrows_half_precision_is_kept_whole(tmp_path):
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor([[1e6, 1.0], [0.0, -3.0]])
    tensors = load_file(keep(tmp_path, 1, [Power(model, 0.1)]))
    assert tensors["0.weight"].dtype == torch.float32 and torch.equal(tensors["0.weight"], model.weight.data)
    assert torch.equal(reconstruct(tmp_path, [0.1])[0]["weight"], model.weight.data)
    with pytest.raises(ValueError, match="kept no averages"):
        reconstruct(tmp_path / "none", [0.1])
