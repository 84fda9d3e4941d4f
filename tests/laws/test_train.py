"""Laws of `train/`: what a run keeps, whatever stops it."""

import errno
import hashlib
import json
import math
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from unnoise.tensor import Rng
from unnoise.train import (
    EMA,
    NonFinite,
    Order,
    State,
    Trainer,
    claim,
    latest,
    load,
    prune,
    read_weights,
    save,
    write_weights,
)
from unnoise.train import disk as disk_module
from unnoise.train.batches import ahead, stream
from unnoise.train.learner import Learner
from unnoise.train.log import Progress
from unnoise.train.run import Run


class Points:
    """`n` points in 4 dimensions; keeps the indices that were asked for."""

    def __init__(self, n: int = 20) -> None:
        self.x = Rng(1, torch.arange(n)).normal((4,), "points")
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor, rng: Rng | None = None) -> dict[str, Tensor]:
        if rng is not None:
            self.asked += indices.tolist()
        return {"x": self.x[indices]}


def denoise(model: nn.Module, batch: dict[str, Tensor], rng: Rng) -> Tensor:
    x = batch["x"]
    return (model(x + rng.normal(x.shape[1:], "eps")) - x).square().mean(1)


def network(dropout: float = 0.0, norm: bool = False) -> nn.Module:
    layers = [nn.Linear(4, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.SiLU(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, nn.Linear(16, 4))
    for k, weight in enumerate(model.parameters()):
        weight.data = 0.3 * Rng(k).normal(weight.shape, "weight")[0]
    return model


def silent(line: str) -> None:
    pass


class At:
    """A hook that does something after one step."""

    every = 1

    def __init__(self, step: int, action) -> None:
        self.step, self.action = step, action

    def __call__(self, state: State) -> None:
        if state.step == self.step:
            self.action(state)


def send(number: int):
    return lambda state: os.kill(os.getpid(), number)


def outcome(folder: Path, step: int) -> tuple[str, str, list[dict]]:
    """Digests of all tensors and of the state, and the log without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("time")
    files = [folder / "state" / f"step-{step}" / name for name in ("state.safetensors", "state.json")]
    return *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files), rows


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


# -- going on

STORY = {"lr": 1e-2, "decay": "cosine", "warmup": 3, "micro_batch": 5, "log_every": 4, "save_every": 6, "weight_decay": 0.1}


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> tuple[Path, list[int]]:
    folder, data = tmp_path_factory.mktemp("straight"), Points()
    Trainer(20, 8, **STORY).fit(network(0.2, norm=True), denoise, data, folder, say=silent)
    return folder, data.asked


@pytest.mark.parametrize("step", [1, 7, 12, 19])
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, straight, step, number, raised):
    data, said = Points(), []
    with pytest.raises(raised) as error:
        model = network(0.2, norm=True)
        Trainer(20, 8, **STORY).fit(model, denoise, data, tmp_path, hooks=[At(step, send(number))], say=said.append)
    assert raised is KeyboardInterrupt or error.value.code == 143
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    Trainer(20, 8, **STORY).fit(network(0.2, norm=True), denoise, data, tmp_path, say=said.append)
    assert said[0].startswith("new run") and said[1].startswith(f"resumes at {step} of 20")
    assert outcome(tmp_path, 20) == outcome(straight[0], 20)
    assert data.asked == straight[1]


def test_a_crash_goes_on_from_the_last_save_to_the_same_bits(tmp_path, straight):
    def crash(state: State) -> None:
        state.log(lost=True)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        Trainer(20, 8, **STORY).fit(network(0.2, norm=True), denoise, Points(), tmp_path, hooks=[At(11, crash)], say=silent)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 3, "lo')  # a row cut short
    (tmp_path / "state" / "step-12.tmp-77").mkdir()
    Trainer(20, 8, **STORY).fit(network(0.2, norm=True), denoise, Points(), tmp_path, say=silent)
    assert outcome(tmp_path, 20) == outcome(straight[0], 20)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["step-18", "step-20"]


def test_a_finished_run_can_be_lengthened(tmp_path):
    said: list[str] = []
    for steps in (6, 10, 10):
        Trainer(steps, 4).fit(network(), denoise, Points(), tmp_path / "a", say=said.append)
    Trainer(10, 4).fit(network(), denoise, Points(), tmp_path / "b", say=silent)
    assert "resumes at 6 of 10" in said[1] and "train.Trainer.steps was 6, is now 10" in said[2]
    assert "resumes at 10 of 10" in said[3]
    a, b = (load(tmp_path / run / "state" / "step-10").tensors for run in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a if name != "sums")


def test_changed_options_are_refused_by_name(tmp_path):
    def fit(lr=1e-3, width=4, items=20, **options):
        recipe = {"network.MLP.width": width, "sampler.DDIM.eta": options.get("eta", 0)}
        data = Points(items)
        Trainer(4, 4, lr=lr).fit(
            network(), denoise, data, tmp_path, options=recipe, safe=["sampler"], say=options.get("say", silent)
        )

    fit()
    with pytest.raises(ValueError, match=r"train\.Trainer\.lr was 0\.001, is now 0\.01") as error:
        fit(lr=1e-2, width=8)
    assert "network.MLP.width was 4, is now 8" in str(error.value)
    with pytest.raises(ValueError, match=r"dataset\.items was 20, is now 19"):
        fit(items=19)
    said: list[str] = []
    fit(eta=1, say=said.append)
    assert "sampler.DDIM.eta was 0, is now 1" in said


def test_a_new_run_may_begin_with_other_weights(tmp_path):
    donor = network()
    donor[0].weight.data += 1
    write_weights(tmp_path / "donor" / "weights.safetensors", donor.state_dict())
    trainer = Trainer(1, 4, lr=1e-12)
    averaged = trainer.fit(network(), denoise, Points(), tmp_path / "a", init=tmp_path / "donor", say=silent)
    assert torch.allclose(averaged[0].weight, donor[0].weight)
    with pytest.raises(ValueError, match=r"does not fit this model: .*'4.weight' has shape \(4, 16\), expected \(5, 16\)"):
        wider = nn.Sequential(*network()[:4], nn.Linear(16, 5))
        trainer.fit(wider, denoise, Points(), tmp_path / "b", init=tmp_path / "donor", say=silent)


# -- what is not finite


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


# -- checkpoints


def two(folder: Path) -> None:
    for step in (3, 6):
        save(folder, step, {"w": torch.full((50,), float(step))}, {"options": {}})


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "delete", "empty"])
def test_a_damaged_checkpoint_is_skipped_and_named(tmp_path, name, damage):
    two(tmp_path)
    file = tmp_path / "state" / "step-6" / name
    content = bytearray(file.read_bytes())
    if damage == "delete":
        file.unlink()
    else:
        content[len(content) // 2] ^= 0x41
        file.write_bytes({"cut": content[: len(content) // 2], "flip": content, "empty": b""}[damage])
    said: list[str] = []
    found = latest(tmp_path, said.append)
    assert found is not None and found.step == 3 and float(found.tensors["w"][0]) == 3
    assert len(said) == 1 and said[0].startswith("skipped step-6: ") and name in said[0] and "\n" not in said[0]
    with pytest.raises(ValueError, match="step-6"):
        prune(tmp_path, 6, 1)
    assert (tmp_path / "state" / "step-3").exists()
    save(tmp_path, 6, {"w": torch.ones(2)}, {})
    assert latest(tmp_path, silent).step == 6  # type: ignore[union-attr]


def test_nothing_begins_anew_unasked(tmp_path):
    assert latest(tmp_path) is None
    two(tmp_path)
    for path in (tmp_path / "state").glob("*/manifest.json"):
        path.unlink()
    with pytest.raises(ValueError, match="no whole checkpoint"):
        latest(tmp_path, silent)


def test_pruning_keeps_the_newest(tmp_path):
    for step in (2, 10, 9, 30):
        save(tmp_path, step, {}, {})
    prune(tmp_path, 10, 2)  # 30 lies beyond the run, which went on from an earlier one
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["step-10", "step-9"]
    prune(tmp_path, 10, 0)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-10"]


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    two(tmp_path)
    real, written = disk_module.write, []

    def full_at_second(path, chunks):
        written.append(path)
        if len(written) == 2:
            path.write_bytes(b"half")
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError:
                raise RuntimeError("unexpected pos 20001664 vs 20001616")  # noqa: B904 - as torch does
        return real(path, chunks)

    monkeypatch.setattr(disk_module, "write", full_at_second)
    with pytest.raises(OSError, match=r"disk full: .*state needs [\d,]+ bytes, [\d,]+ are free") as error:
        save(tmp_path, 9, {"w": torch.ones(50)}, {})
    assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["step-3", "step-6"]

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="disk full"):
        Trainer(5, 4).fit(network(), denoise, Points(), tmp_path / "new", say=silent)


# -- weights


def test_weights_come_back(tmp_path):
    tensors = {
        "bf16": torch.randn(3, 5).to(torch.bfloat16),
        "scalar": torch.tensor(3, dtype=torch.int64),
        "bool": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 4),
        "strided": torch.randn(4, 6).t(),
        "nhwc": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "double": torch.randn(2, dtype=torch.float64),
    }
    path = tmp_path / "weights.safetensors"
    write_weights(path, tensors, {"name": "Ä"})
    read, metadata = read_weights(path)
    assert metadata == {"name": "Ä"} and list(tmp_path.iterdir()) == [path]
    for other in (read, load_file(path)):
        assert other.keys() == tensors.keys()
        assert all(torch.equal(other[k], v) and other[k].dtype == v.dtype for k, v in tensors.items())


def hostile(kind: str, path: Path) -> None:
    write_weights(path, {"w": torch.full((20,), math.nan if kind == "nan" else 1.0)})
    content = path.read_bytes()
    header = b'{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}'
    made = {
        "nan": content,
        "cut": content[:-1],
        "longer": content + b"0",
        "tiny": b"abc",
        "text": b"not a tensor file, but long enough to have a header",
        "bomb": (1 << 60).to_bytes(8, "little") + content[8:],
        "shape": len(header).to_bytes(8, "little") + header + b"0000",
    }
    path.write_bytes(made[kind])


@pytest.mark.parametrize("kind", ["nan", "cut", "longer", "tiny", "text", "bomb", "shape"])
def test_hostile_weights_are_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "w.safetensors"
    hostile(kind, path)
    with pytest.raises(ValueError, match=r"w\.safetensors: ") as error:
        read_weights(path)
    assert "\n" not in str(error.value)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read_weights(tmp_path / "nowhere.safetensors")


# -- one run, one folder


def test_a_second_run_in_a_folder_is_refused(tmp_path):
    (tmp_path / ".lock").write_text("999999\n")  # left by a process that is dead
    with claim(tmp_path), pytest.raises(ValueError, match=f"process {os.getpid()} trains in this folder"):
        Trainer(5, 4).fit(network(), denoise, Points(), tmp_path, say=silent)
    Trainer(5, 4).fit(network(), denoise, Points(), tmp_path, say=silent)


def test_of_many_racing_runs_one_wins(tmp_path):
    barrier, done, won = threading.Barrier(20), threading.Barrier(20), []

    def race() -> None:
        barrier.wait()
        try:
            with claim(tmp_path):
                won.append(1)
                done.wait()
        except ValueError:
            done.wait()

    threads = [threading.Thread(target=race) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


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
