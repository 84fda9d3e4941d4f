"""Laws of `train/`: what is not finite stops a run in its step, and nothing of it is kept."""

import math

import pytest
import torch
from injections import KINDS, inject, naive
from training import STORY, At, Points, denoise, network, outcome, silent

from unnoise.tensor import Rng
from unnoise.train import NonFinite, Order, State, Trainer, latest, load
from unnoise.train.learner import Learner
from unnoise.train.run import Run


def break_weight(state: State) -> None:
    state.model[0].weight.data[0, 0] = math.nan


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ("data", r"'x' of items \[13\] is not finite"),
        ("weight", r"step 6: the weight '0.weight' is not finite"),
        ("loss", r"step 6: the loss is not finite"),
        ("gradient", r"step 6: the gradient of '0.weight' is not finite"),
        ("lr", r"is not finite"),
    ],
)
def test_a_run_stops_in_the_step_that_is_not_finite(tmp_path, cause, message):
    data, step = Points(), 0
    hooks = [At(5, break_weight)] if cause == "weight" else []
    if cause == "data":
        data.x[13, 2] = math.nan

    def objective(model, batch, rng):
        nonlocal step
        step += 1
        losses = denoise(model, batch, rng)
        if cause == "loss" and step == 6:
            return losses * math.inf
        if cause == "gradient" and step == 6:
            return losses + (model(batch["x"]).sum(1) * 0).sqrt()  # the root's slope at 0 is infinite
        return losses

    trainer = Trainer(40, 4, lr=1e30 if cause == "lr" else 1e-3, save_every=2 if cause == "weight" else 1, keep=50)
    with pytest.raises(NonFinite, match=message) as error:
        trainer.fit(network(), objective, data, tmp_path, hooks=hooks, say=silent)
    stopped = int(str(error.value).split()[1].rstrip(":"))
    saved = [int(path.name[5:]) for path in (tmp_path / "state").glob("step-*")]
    assert max(saved, default=0) in (stopped - 1, stopped - 2)  # a save too is refused once a weight is not finite
    assert all(torch.isfinite(t).all() for t in load(tmp_path / "state" / f"step-{max(saved)}").tensors.values())
    if cause == "data":
        assert data.asked[-8:].count(13) == 2 and 13 not in data.asked[:-8]  # in its first batch; once more to name it


@pytest.fixture
def accelerator(monkeypatch) -> None:
    """The CPU treated as an accelerator: values looked at only when needed, data fetched by a thread."""
    begin = Run.__init__

    def lazily(self, *args) -> None:
        begin(self, *args)
        self.lazy = True

    monkeypatch.setattr(Run, "__init__", lazily)
    monkeypatch.setattr(torch.cpu, "manual_seed", torch.manual_seed, raising=False)


def test_an_accelerator_run_has_the_same_bits(tmp_path, straight, accelerator):
    Trainer(20, 8, **STORY).fit(network(0.2, norm=True), denoise, Points(), tmp_path, say=silent)
    assert outcome(tmp_path, 20) == outcome(straight[0], 20)


def test_an_accelerator_run_names_the_step_that_was_not_finite(tmp_path, accelerator):
    data, model = Points(), network()
    data.x[13] = math.inf
    first = next(step for step in range(1, 9) if 13 in Order(20, 4, 0).indices(step))
    with pytest.raises(NonFinite, match=rf"step {first}: 'x' of items \[13\]"):
        Trainer(40, 4, log_every=20, save_every=15).fit(model, denoise, data, tmp_path, say=silent)
    assert all(torch.isfinite(weight).all() for weight in model.parameters()) and latest(tmp_path) is None


def test_weights_do_not_move_in_a_step_that_is_not_finite():
    model = network()
    learner = Learner(model, betas=(0.9, 0.999), weight_decay=0.1, clip=1.0, ema=0.9, ema_warmup=1.0)
    batch = Points().batch(torch.arange(8))
    for step, factor in ((1, 1.0), (2, math.nan), (3, 1.0)):
        before = [weight.clone() for weight in model.parameters()]
        learner.optimizer.zero_grad()
        loss = denoise(model, batch, Rng(0, torch.arange(8))).mean() * factor
        loss.backward()
        learner.update(step, loss.detach(), 1e-2)
        moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
        assert all(moved) if step == 1 else not any(moved)
    assert learner.first_bad_step() == 2


def stopped_at_once(found: dict) -> None:
    assert found["in_step"] and found["kept_finite"] and found["one_line"], found


@pytest.mark.parametrize("kind", KINDS)
def test_injected(tmp_path, kind):
    stopped_at_once(inject(tmp_path, kind, 7))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [2, 11, 23])
def test_injected_at_other_steps(tmp_path, kind, step):
    stopped_at_once(inject(tmp_path, kind, step))


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_loop_is_spoiled(kind):
    assert naive(kind, 7)
