"""The health of a run: the alarm rings for copies alone, words follow the losses, and nothing of it touches the training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from unnoise.domain.base import Rows
from unnoise.recipe import Recipe
from unnoise.task.hooks import Health
from unnoise.task.hooks.trend import told
from unnoise.task.report.history import History
from unnoise.task.train import Setting, assemble, train
from unnoise.tensor import Rng

TINY = [
    "network.UNet.width=8",
    "network.UNet.heads=1",
    "network.UNet.dropout=0.1",
    "train.Trainer.steps=6",
    "train.Trainer.batch=8",
    "train.Trainer.log_every=2",
    "train.Trainer.validate_every=3",
    "train.Trainer.preview_every=0",
    "train.Trainer.tensorboard=false",
    "model.Defaults.steps=2",
]


@pytest.fixture(scope="module")
def setting() -> Setting:
    return assemble(Recipe.read("digits", [*TINY, "train.Trainer.health_every=3"]), "cpu", print)


def rings(setting: Setting, monkeypatch: pytest.MonkeyPatch, x: Tensor, items: int | None = None, held_out: bool = True) -> dict:
    """What the hook logs and says where the model's samples are x and the training set has so many items."""
    health = next(hook for hook in setting.hooks if isinstance(hook, Health))
    said: list[str] = []
    rows: Rows = health.train  # type: ignore[assignment]
    made = replace(
        health, say=said.append, held_out=health.held_out if held_out else None, train=replace(rows, rows=rows.rows[:items])
    )
    monkeypatch.setattr("unnoise.model.Model.sample", lambda model, n: x[torch.arange(n) % len(x)])
    logged: dict = {}
    network = setting.model.denoiser
    made(SimpleNamespace(step=1, steps=2, model=network, averaged=network, folder=None, log=lambda **v: logged.update(v)))  # type: ignore[arg-type]
    return {**logged, "said": said}


def train_items(setting: Setting, n: int) -> Tensor:
    return setting.data.batch(torch.arange(n))["x"]


def test_the_alarm_rings_for_copies(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    x = train_items(setting, 64)
    found = rings(setting, monkeypatch, x + 0.05 * Rng(0, torch.arange(64)).normal(x.shape[1:], "noise"))
    assert found["health"]["copies"] == 1 and "ALARM at step 1: 100% of the samples" in found["said"][0]


def test_the_alarm_is_silent_for_new_data(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    new = setting.model.domain.dataset("test").batch(torch.arange(64))["x"]
    found = rings(setting, monkeypatch, new)
    assert found["said"] == [] and found["health"]["copies"] <= 0.1 and 0.7 < found["health"]["nearest"] < 1.4
    assert found["health"]["frechet"] < 3 * found["health"]["frechet_real"] and len(found["held_out_raw"]) == 5


@pytest.mark.parametrize("copies", [True, False])
def test_without_held_out_data_training_items_stand_in(setting: Setting, monkeypatch: pytest.MonkeyPatch, copies: bool) -> None:
    x = train_items(setting, 80)
    found = rings(setting, monkeypatch, x[:16] if copies else x[16:], items=16, held_out=False)
    assert bool(found["said"]) == copies and "held_out_raw" not in found


def test_mirrored_copies_are_copies(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    x = train_items(setting, 64).flip(-1)
    assert not rings(setting, monkeypatch, x)["said"]
    health = next(hook for hook in setting.hooks if isinstance(hook, Health))
    monkeypatch.setitem(setting.hooks.__getitem__(-1).__dict__, "train", replace(health.train, flip=True))  # type: ignore[type-var]
    assert rings(setting, monkeypatch, x)["said"]


def test_hooks_leave_weights_and_randomness_as_they_are(tmp_path: Path) -> None:
    logs, digests = [], []
    for every in (0, 2):
        out, said = tmp_path / str(every), []
        changes = [*TINY, f"train.Trainer.health_every={every}"]
        torch.manual_seed(3)
        train(Recipe.read("digits", changes), out, device="cpu", report=False, say=said.append)
        digests.append(
            (hashlib.sha256((out / "state" / "step-6" / "state.safetensors").read_bytes()).hexdigest(), torch.rand(3).tolist())
        )
        rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        logs.append([{k: v for k, v in row.items() if k != "time"} for row in rows if "health" not in row])
        assert [row["step"] for row in rows if "health" in row] == ([2, 4, 6] if every else [])
    assert digests[0] == digests[1] and logs[0] == logs[1]


def history(held_out: list[float], trained_on: list[float] | None = None, **rows: list[float]) -> History:
    made: list[dict] = [
        {"step": 100 * (k + 1), "held_out": {"0.0-1.0": a}, "trained_on": {"0.0-1.0": b}}
        for k, (a, b) in enumerate(zip(held_out, trained_on or held_out, strict=True))
    ]
    for name, values in rows.items():
        made += [{"step": 100 * (k + 1), name: v if name == "grad_norm" else {"0.0-1.0": v}} for k, v in enumerate(values)]
    return History(made)


FALLING = [1 / (k + 1) for k in range(12)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (history(FALLING), "still falls: by"),
        (history([*FALLING[:6], *[0.15] * 10]), "levelled off since about step 700"),
        (history([*FALLING, *[1 / 12 + 0.01 * k for k in range(8)]], [1 / (k + 1) for k in range(20)]), "the best weights were"),
        (history(FALLING, held_out_raw=[0.9 * v for v in FALLING]), "average, which lags"),
        (history(FALLING, held_out_raw=[1.2 * v for v in FALLING]), "the average is 16.7% better"),
        (history(FALLING, grad_norm=[1.0] * 9 + [50.0]), "gradient's norm is 50 times"),
    ],
)  # fmt: skip
def test_words_follow_the_losses(given: History, said: str) -> None:
    assert any(said in line for line in told(given)), told(given)


def test_a_short_log_says_nothing() -> None:
    assert told(history([1.0, 0.9])) == [] and told(History([])) == []
