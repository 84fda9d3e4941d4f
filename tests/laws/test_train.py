"""Laws of `train/`: averages, steps, order, options."""

import math
import signal

import pytest
import torch
from torch import nn
from training import At, Points, denoise, network, outcome, send, silent

from unnoise.tensor import Rng
from unnoise.train import EMA, Order, State, Trainer, load
from unnoise.train.batches import ahead, stream
from unnoise.train.learner import shortened
from unnoise.train.log import Progress

# -- the average


def test_the_average_has_its_closed_form():
    model = nn.Linear(3, 2, bias=False)
    ema = EMA(model, decay=0.9, warmup=0.5)
    weights = [Rng(7, k).normal((2, 3), "w", dtype=torch.float64)[0] for k in range(30)]
    expected = model.weight.detach().double()
    for step, weight in enumerate(weights, 1):
        model.weight.data = weight.float()
        ema.update(model, step)
        decay = 2 ** (-1 / min(math.log(2) / -math.log(0.9), 0.5 * step))
        expected = decay * expected + (1 - decay) * weight
    assert torch.allclose(ema.module.weight.double(), expected, atol=1e-6)
    assert ema.decay(10**6) == pytest.approx(0.9)
    assert EMA(model, decay=0.9, warmup=math.inf).decay(1) == pytest.approx(0.9)


def test_averages_are_float32_and_buffers_are_copied():
    model = nn.BatchNorm1d(3).to(torch.bfloat16)
    ema = EMA(model)
    model(torch.randn(5, 3, dtype=torch.bfloat16))
    ema.update(model, 1)
    assert ema.module.weight.dtype == torch.float32
    assert torch.equal(ema.module.running_mean, model.running_mean) and int(ema.module.num_batches_tracked) == 1


# -- steps


def test_the_learning_rate_is_a_function_of_the_step():
    constant = Trainer(10, 1, lr=1.0, warmup=4)
    assert [constant.rate(k) for k in (1, 2, 4, 5, 10)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    cosine, linear = (Trainer(12, 1, lr=2.0, warmup=2, decay=decay) for decay in ("cosine", "linear"))
    assert [cosine.rate(3), cosine.rate(8)] == pytest.approx([2.0, 1.0])
    assert linear.rate(8) == pytest.approx(1.0) and 0 < linear.rate(12) < linear.rate(11)


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_parts_of_a_batch_add_up_to_it(tmp_path, micro_batch):
    whole, parts = (
        Trainer(12, 8, lr=1e-2, micro_batch=micro).fit(network(), denoise, Points(), tmp_path / str(micro), say=silent)
        for micro in (None, micro_batch)
    )
    for name, weight in whole.state_dict().items():
        assert torch.allclose(weight, parts.state_dict()[name], atol=1e-6)


def test_training_learns(tmp_path):
    model = network()
    before = denoise(model, Points().batch(torch.arange(20)), Rng(5, torch.arange(20))).mean()
    averaged = Trainer(300, 16, lr=1e-2).fit(model, denoise, Points(), tmp_path, say=silent)
    after = denoise(averaged, Points().batch(torch.arange(20)), Rng(5, torch.arange(20))).mean()
    assert after < 0.8 * before and not averaged.training and not any(p.requires_grad for p in averaged.parameters())


@pytest.mark.parametrize(("items", "batch"), [(1, 8), (3, 8), (20, 8), (16, 16)])
def test_every_epoch_has_every_item_once(items, batch):
    order = Order(items, batch, seed=3)
    seen = torch.cat([order.indices(step) for step in range(1, 4 * items + 1)])
    epochs = seen[: len(seen) // items * items].reshape(-1, items)
    assert torch.equal(epochs.sort(1).values, torch.arange(items).expand_as(epochs))
    assert items < 16 or len(epochs.unique(dim=0)) == len(epochs)


@pytest.mark.parametrize("items", [1, 3])
def test_a_dataset_may_be_smaller_than_a_batch(tmp_path, items):
    Trainer(5, 8).fit(network(), denoise, Points(items), tmp_path, say=silent)
    assert load(tmp_path / "state" / "step-5").step == 5


def test_a_dataset_without_items_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no items"):
        Trainer(5, 8).fit(network(), denoise, Points(0), tmp_path, say=silent)


def test_a_thread_ahead_yields_the_same_and_passes_errors_on():
    def parts():
        return stream(Points(), Order(20, 8, 0), range(1, 5), 3)

    assert all(torch.equal(a.batch["x"], b.batch["x"]) for a, b in zip(parts(), ahead(parts()), strict=True))

    class Broken(Points):
        def batch(self, indices, rng=None):
            raise ValueError("broken file")

    with pytest.raises(ValueError, match="broken file"):
        list(ahead(stream(Broken(), Order(20, 8, 0), range(1, 5), 8)))


def test_hooks_see_their_steps_and_the_last(tmp_path):
    calls = []

    class Watch:
        every = 4

        def __call__(self, state: State) -> None:
            calls.append(state.step)
            state.model.eval()
            state.log(held_out=1.5)

    model = network()
    Trainer(10, 4).fit(model, denoise, Points(), tmp_path, hooks=[Watch()], say=silent)
    rows = outcome(tmp_path, 10)[2]
    assert calls == [4, 8, 10] and [row["step"] for row in rows if "held_out" in row] == calls and model.training


def test_prepare_may_change_the_batch(tmp_path):
    seen = []

    def prepare(batch, rng):
        seen.append(len(rng))
        return {"x": batch["x"] * 0}

    Trainer(2, 4, micro_batch=3).fit(network(), denoise, Points(), tmp_path, prepare=prepare, say=silent)
    assert seen == [3, 1, 3, 1]


def test_torch_generators_are_given_back(tmp_path):
    model, state = network(dropout=0.5), torch.get_rng_state()
    Trainer(3, 4).fit(model, denoise, Points(), tmp_path, say=silent)
    assert torch.equal(state, torch.get_rng_state())


def test_pictures_may_be_stored_channels_last(tmp_path):
    class Pictures(Points):
        def batch(self, indices, rng=None):
            return {"x": self.x[indices][:, :, None, None].expand(-1, 4, 6, 6)}

    def objective(model, batch, rng):
        assert batch["x"].is_contiguous(memory_format=torch.channels_last)
        return (model(batch["x"]) - batch["x"]).square().mean((1, 2, 3))

    options = {"batch": 4, "channels_last": True, "save_every": 3}
    for folder, stop in (("straight", 99), ("stopped", 3)):
        torch.manual_seed(0)
        hook = At(stop, send(signal.SIGTERM))
        fit = (nn.Conv2d(4, 4, 3, padding=1), objective, Pictures(), tmp_path / folder)
        try:
            Trainer(6, **options).fit(*fit, hooks=[hook], say=silent)
        except SystemExit:
            Trainer(6, **options).fit(*fit, say=silent)
    assert outcome(tmp_path / "straight", 6) == outcome(tmp_path / "stopped", 6)


def test_plain_lines_tell_rate_and_time_left(monkeypatch):
    clock = iter([0.0, 5.0, 20.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    said: list[str] = []
    with Progress(100, 1000, said.append) as bar:
        bar.note = ", loss 0.5"
        bar.update(101)
        bar.update(300)
    assert said == ["step 300 of 1,000, 10 steps/s, 00:01:10 left, loss 0.5"]


def test_tensorboard_has_the_rows(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Trainer(6, 4, log_every=2, tensorboard=True).fit(network(), denoise, Points(), tmp_path, say=silent)
    board = events.EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == [2, 4, 6]


# -- the border


@pytest.mark.parametrize(
    "option",
    [
        {"steps": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": math.nan}, {"ema": 1.0}, {"betas": [0.9, 1.0]}, {"keep": 0},
        {"micro_batch": 9}, {"decay": "cosin"}, {"precision": "fp16"}, {"clip": -1.0}, {"warmup": -1},
    ],
)  # fmt: skip
def test_bad_options_are_refused(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}.* is .*; expected"):
        Trainer(**{"steps": 5, "batch": 8, **option})


def test_losses_must_be_one_for_each_sample(tmp_path):
    with pytest.raises(ValueError, match=r"losses of shape \(\); expected \(4,\)"):
        Trainer(5, 4).fit(network(), lambda m, b, r: denoise(m, b, r).mean(), Points(), tmp_path, say=silent)


@pytest.mark.parametrize("most", [0.5, 1e6, math.inf])
@pytest.mark.parametrize("other", [torch.float32, torch.float64])
def test_gradients_are_clipped_as_torch_does_to_the_bit(most, other):
    def weights() -> list[torch.Tensor]:
        made = [torch.nn.Parameter(torch.zeros(k, 7)) for k in range(1, 9)] + [torch.nn.Parameter(torch.zeros(3, dtype=other))]
        for k, weight in enumerate(made[1:]):
            weight.grad = Rng(k).normal(weight.shape, "gradient", dtype=weight.dtype)[0]
        return made

    ours, theirs = weights(), weights()
    assert torch.equal(shortened(iter(ours), most), torch.nn.utils.clip_grad_norm_(theirs, most))
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours[1:], theirs[1:], strict=True))
