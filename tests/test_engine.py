"""Engines: another program runs the network, and the pictures are the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.test_export import LABEL, make, saved
from unnoise.engine import Session, program, session, write_onnx
from unnoise.engine.onnx import CACHE, DIGEST
from unnoise.guidance import Guidance
from unnoise.model import load
from unnoise.network import MLP, DiT, NCSNpp
from unnoise.task import sample as task
from unnoise.task.export import export
from unnoise.zoo.links import labels

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
SECTIONS = {
    "schedule": {"Cosine": {}},
    "prediction": {"v": {}},
    "sampler": {"DPMpp2M": {}},
    "model": {"Defaults": {"steps": 3, "batch": 4}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a class, whose ONNX file is made by the first test that needs it."""
    return saved(make(SECTIONS, (1, 8, 8), LABEL), tmp_path_factory.mktemp("run"))


def test_onnx_samples_what_torch_does_at_any_batch(run: Path) -> None:
    eager, other = load(run), load(run, engine="onnx")
    assert isinstance(other.denoiser.network, Session) and other.digest == eager.digest
    x, level = torch.randn(16, 1, 8, 8), torch.linspace(0, 999, 16)
    label = torch.arange(16) % 4  # the last is none
    for batch in (1, 3, 16):
        cond = {"label": label[:batch]}
        ours, theirs = (model.denoiser.network(x[:batch], level[:batch], cond) for model in (eager, other))
        assert (ours - theirs).abs().max() <= 1e-4
    assert torch.equal(other.denoiser.network(x, level), other.denoiser.network(x, level, {"label": torch.full((16,), 3)}))
    for options in ({"cond": {"label": "dog"}}, {"scale": 2.0, "cond": {"label": ["cat", None, "eel"]}}, {}):
        assert (eager.sample(3, seed=1, **options) - other.sample(3, seed=1, **options)).abs().max() <= 1e-4


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_the_rows(run: Path, threads: int) -> None:
    """Whatever their number is, and wherever in the batch a row stands."""
    before, network = torch.get_num_threads(), load(run).denoiser.network
    torch.set_num_threads(threads)
    try:
        other = load(run, engine="onnx").denoiser.network
    finally:
        torch.set_num_threads(before)
    x, level, label = torch.randn(16, 1, 8, 8), torch.linspace(0, 999, 16), torch.arange(16) % 4
    for batch in (1, 2, 3, 4, 16):
        answer = other(x[:batch], level[:batch], {"label": label[:batch]})
        assert (answer - network(x[:batch], level[:batch], {"label": label[:batch]})).abs().max() <= 1e-4
    alike = other(x[:1].repeat(16, 1, 1, 1), level[:1].repeat(16), {"label": label[:1].repeat(16)})
    assert all(torch.equal(row, alike[0]) for row in alike)


class Shift(nn.Module):
    """A network that costs nothing to export."""

    shape, conds, variance = (1, 8, 8), {}, False

    def forward(self, x: Tensor, level: Tensor, cond: object = None) -> Tensor:
        return x + level[:, None, None, None]


def test_the_file_is_made_once_for_the_weights(run: Path) -> None:
    load(run, engine="onnx")
    (path,) = (run / CACHE).glob("*")
    made = path.stat().st_mtime_ns
    load(run, engine="onnx")
    assert path.stat().st_mtime_ns == made and [path] == list((run / CACHE).glob("*"))
    with pytest.raises(ValueError, match="was not made of the weights beside it"):
        path.rename(path.with_name("kept"))
        write_onnx(Shift(), path, {DIGEST: "of others"})
        load(run, engine="onnx")
    path.with_name("kept").rename(path)


def test_pictures_say_the_engine_and_are_made_again_by_it(run: Path, tmp_path: Path) -> None:
    order = task.Order([3, 4], {"label": "cat"}, device="cpu", engine="onnx")
    first, *_ = task.sample(run, order, tmp_path / "pictures")
    told = json.loads(Image.open(first).text["unnoise"])
    assert told["engine"] == "onnx" and "onnxruntime" in told
    _, same = task.reproduce(first, run)
    assert same
    eager, *_ = task.sample(run, task.Order([3, 4], {"label": "cat"}, device="cpu"), tmp_path / "eager")
    assert "engine" not in json.loads(Image.open(eager).text["unnoise"])


class Gradient(Guidance):
    def __call__(self, denoise, x_t, t, cond):  # type: ignore[no-untyped-def]
        with torch.enable_grad():
            return denoise.answer(x_t.detach().requires_grad_(), t, cond)


def test_what_it_cannot_do_is_refused_in_one_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of eager, onnx"):
        load(run, engine="tensorrt")
    with pytest.raises(ValueError, match="needs gradients through the network"):
        load(run, engine="onnx").sample(1, guidance=[Gradient()])
    with pytest.raises(ValueError, match="computes in fp32"):
        task.sample(run, task.Order([0], precision="bf16", device="cpu", engine="onnx"), tmp_path)


@pytest.mark.slow
def test_an_exported_folder_is_sampled_by_itself(run: Path, tmp_path: Path) -> None:
    certificate = export(run, tmp_path / "out", "onnx")
    assert certificate.passed and not (tmp_path / "out" / "weights.safetensors").exists()
    assert [one.what[-2:].strip() for one in certificate.comparisons] == ["1", "3", "16"]
    other = load(tmp_path / "out", engine="onnx")
    assert other.digest == load(run).digest
    assert (other.sample(2, seed=1) - load(run).sample(2, seed=1)).abs().max() <= 1e-4
    with pytest.raises(ValueError, match="for ONNX Runtime alone: --engine onnx"):
        load(tmp_path / "out")


NETWORKS = {
    "dit": lambda: DiT((1, 8, 8), labels(3), width=24, depth=2, heads=3),
    "mlp": lambda: MLP((2,)),
    "ncsnpp": lambda: NCSNpp((3, 8, 8), width=16, multipliers=(1, 2), attention=(1,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_a_program_and_a_session(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval().requires_grad_(False)
    for weight in network.parameters():
        weight += 0.05 * torch.randn(weight.shape)
    compiled, other = program(network).module(), session(network, tmp_path, "0")
    for batch in (1, 3, 16):
        x, level = torch.randn(batch, *network.shape), torch.linspace(0, 1, batch)
        cond = {name: torch.arange(batch) % 4 for name in network.conds}
        ours = network(x, level, cond)
        assert (compiled(x, level, *cond.values()) - ours).abs().max() <= 1e-5
        assert (other(x, level, cond) - ours).abs().max() <= 1e-4
