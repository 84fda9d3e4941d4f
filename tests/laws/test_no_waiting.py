"""The law of the loop: between two rows of the log nothing looks at a value of the device, so that the host runs ahead of it."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from unnoise.recipe import Recipe
from unnoise.task.train import assemble
from unnoise.tensor import Rng
from unnoise.train import learner
from unnoise.train.run import Run

aten = torch.ops.aten
LOOKS = {aten._local_scalar_dense, aten.nonzero, aten.is_nonzero, aten.equal, aten.masked_select, aten._unique2, aten.unique_dim}
READS = ("tolist", "numpy", "cpu")  # these read memory without an operation
RECIPES = ("digits", "iddpm-digits", "inpaint-digits", "classifier-digits", "vae-digits", "gan-digits", "points", "vdm")
SMALL = ("train.Trainer.batch=8", "train.Trainer.steps=9", "train.Trainer.tensorboard=false", "train.Trainer.ema_lengths=[0.1]")


class Far(TorchDispatchMode):
    """Takes some tensors, and all that is computed of them, for those of a device, and keeps what looked at their values."""

    def __init__(self) -> None:
        super().__init__()
        self.begin([])

    def begin(self, tensors: list[Tensor]) -> None:
        self.looks: list[str] = []
        self.kept = list(tensors)  # alive, so that no other tensor comes to lie where one of these was
        self.places = {tensor.untyped_storage().data_ptr() for tensor in tensors}

    def has(self, *values: object) -> bool:
        tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
        return any(tensor.untyped_storage().data_ptr() in self.places for tensor in tensors)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        done = func(*args, **(kwargs or {}))
        if self.has(args, kwargs):
            masked = func.overloadpacket is aten.index and any(i is not None and i.dtype == torch.bool for i in args[1])
            if func.overloadpacket in LOOKS or masked:
                self.looks.append(str(func))
            made = [value for value in tree_leaves(done) if isinstance(value, Tensor)]
            self.kept += made
            self.places |= {value.untyped_storage().data_ptr() for value in made}
        return done


@pytest.fixture
def far(monkeypatch) -> Far:
    far = Far()
    for name in READS:
        monkeypatch.setattr(Tensor, name, told(far, name))
    monkeypatch.setattr(Rng, "host", property(near))
    monkeypatch.setattr(learner, "_is_one", lambda share: False)  # asked of processors alone
    return far


def told(far: Far, name: str):
    real = getattr(Tensor, name)

    def read(tensor: Tensor, *args, **options):
        if far.has(tensor):
            far.looks.append(name)
        return real(tensor, *args, **options)

    return read


def near(rng: Rng) -> Rng:
    """The twin that streams of a device have on the host."""
    with _disable_current_modes():
        return Rng._with((rng.key[0].clone(), rng.key[1].clone()), rng.index.clone(), rng.sign)


def steps(run: Run, far: Far) -> Iterator[int]:
    """Three steps, of which the device's part is watched: from a batch on the host to the average; the number of each."""
    for step, parts in run.batches(0):
        fetched = list(parts)
        data = [tensor for part in fetched for tensor in (*part.batch.values(), *part.rng.key, part.rng.index)]
        held = [*run.model.parameters(), *run.model.buffers(), *run.learner.named.values(), run.learner.sums]
        far.begin([*data, *held, run.learner.first_bad])
        with far:
            loss = run.gradients(step, iter(fetched))
            run.learner.update(step, loss, 1e-3)
        yield step
        if step == 3:
            return


def begun(name: str, folder, device: str = "cpu") -> Run:
    setting = assemble(Recipe.read(name, SMALL), device, str)
    model = setting.model.denoiser
    run = Run(setting.trainer, model, setting.objective, setting.data, folder, setting.prepare, setting.on)
    run.begin(None, {}, (), str)
    return run


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_looks_at_nothing(name, tmp_path, far):
    for _ in steps(begun(name, tmp_path), far):
        assert far.looks == []
        assert len(far.kept) > 500  # it was watched


def test_what_looks_is_seen(tmp_path, far):
    """Rows and checks look, and there they may: what is counted can be counted."""
    run = begun("points", tmp_path)
    for _ in steps(run, far):
        with far:
            run.check()
        assert far.looks == ["aten._local_scalar_dense.default"]
        run.learner.means()
        assert far.looks[1:] == ["tolist"]


def test_streams_of_a_device_have_their_twin_on_the_host():
    rng = Rng(range(4), range(4)).mirrored([True, False, True, False])
    away = Rng(range(4), range(4), device="meta").mirrored([True, False, True, False])
    for there, here in ((away, rng), (away.at(3), rng.at(3)), (away.at(3)[1:3], rng.at(3)[1:3]), (rng.to("meta"), rng)):
        assert there.device.type == "meta" and there.host.device.type == "cpu"
        assert torch.equal(there.host.normal((5,), "twin"), here.normal((5,), "twin"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch itself tells of each wait for it")
def test_a_gpu_is_never_waited_for(tmp_path):
    run = begun("digits", tmp_path, "cuda")
    for step, parts in run.batches(0):
        if step > 2:  # the first ones choose algorithms and set memory aside
            torch.cuda.set_sync_debug_mode("error")
        try:
            run.learner.update(step, run.gradients(step, parts), 1e-3)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        if step == 5:
            break
