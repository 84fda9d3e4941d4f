"""Evaluations: planted faults, the same samples in several forms, several ranks, features by name and file, protocols."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import planted
from tests.evaluating import quick
from tests.golden import metrics as peers
from tests.test_cli import TINY, pictures, unnoise
from unnoise.domain import Digits, Points
from unnoise.metric import Estimate
from unnoise.metric.features import Autoencoder, Classifier, Inception, Pooled, Raw, Transformer, train_autoencoder
from unnoise.task import machine
from unnoise.task.evaluate import Evaluation, Number, Wish, compare, evaluate, features, measure
from unnoise.task.evaluate.board import Board
from unnoise.task.evaluate.reference import reference
from unnoise.task.evaluate.verdict import verdict
from unnoise.tensor import Rng

PEERS = json.loads(Path(peers.__file__).with_suffix(".json").read_text("utf-8"))
SEEN = {  # the word that a verdict must begin with
    "real": "no fault found",
    "mode dropped": "mode dropped: classes 3, 5, 7 missing",
    "blurred": "blurred",
    "noisy": "noisy",
    "copied": "copies: 100%",
    "half copied": "copies: 50%",
    "narrow": "low diversity",
}
EXACT = ("frechet", "kid", "precision", "recall", "density", "coverage", "diversity", "vendi", "class_distance", "detail",
         "spectrum", "marginal", "contrast", "copies", "nearest")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with quick(tmp_path_factory.mktemp("cache"), steps=300, batch=128):
        yield


@pytest.fixture(scope="module")
def digits():
    domain = planted.Without(Digits())
    return domain, measure.real(domain), planted.cases(domain, 1000)


@pytest.mark.parametrize("case", SEEN)
def test_planted_faults_get_the_right_verdict(digits, case: str) -> None:
    domain, real, cases = digits
    found = planted.judged(domain, real, cases[case]())
    assert found.verdict[0].startswith(SEEN[case])
    if case == "real":
        assert len(found.verdict) == 1
        for number in found.numbers.values():
            assert number.low <= number.value <= number.high
        assert len(found.pairs) == 8 and found.shown.shape == (64, 1, 8, 8) and len(found.classes) == 10


def test_a_network_looks_at_a_sample_once_whatever_is_asked_of_it(digits, monkeypatch) -> None:
    domain, real, _ = digits
    parts = measure.split(domain, real, 50)
    yard = measure.yardstick(domain, real, parts, 50, Wish(features="classifier"), print)
    board, seen, look = Board(yard, parts.labels), [], Classifier.features
    monkeypatch.setattr(Classifier, "features", lambda self, x: seen.append(len(x)) or look(self, x))
    board.update(parts.x)
    assert yard.judge is not None and yard.scorer is yard.features is yard.judge and seen == [50]
    found, rows = board.metrics["recognition"].found, look(yard.judge, parts.x)
    assert torch.equal(found, yard.judge.predict(parts.x).bincount(minlength=10))
    torch.testing.assert_close(yard.judge.probabilities(rows), yard.judge(parts.x).softmax(1).detach())


def test_a_class_that_a_poor_model_does_not_hit_is_no_lost_mode() -> None:
    def number(value: float, real: float) -> Number:
        return Number(value, 0.9 * value, 1.1 * value, Estimate(real, 0.9 * real, 1.1 * real), "")

    poor = {"accuracy": number(0.3, 0.9), "frechet": number(8, 1)}
    assert verdict(poor, ["dog"]) == [
        "conditions are not kept: 30% of samples are recognised as asked (real data: 90%)",
        "not recognised among them: class dog",
        "the Frechet distance is 8 times that of other real data",
    ]
    assert verdict(poor | {"accuracy": number(0.9, 0.9)}, ["dog"])[0] == "mode dropped: class dog missing"
    assert verdict({"frechet": number(1.5, 1)}, []) == [
        "no fault found; the Frechet distance is 1.5 times that of other real data"
    ]


def test_what_is_surely_less_than_real_data_have_is_told_though_it_is_no_fault() -> None:
    def number(value: float, real: float, width: float = 0.02) -> Number:
        return Number(value, value - width, value + width, Estimate(real, real - width, real + width), "")

    near = {"frechet": number(1, 1), "recall": number(0.88, 0.9), "detail": number(0.1, 0)}
    assert verdict(near, []) == ["no fault found: as near to the data as other real data are"]
    assert verdict(near | {"recall": number(0.8, 0.9), "detail": number(-0.9, 0)}, []) == [
        "no grave fault, but not yet like real data: recall 0.80 (real data 0.90), 0.9 dB less fine detail"
    ]
    assert verdict(near | {"recall": number(0.8, 0.9, 0.2)}, [])[0].startswith("no fault found")  # nobody can tell
    assert verdict(near | {"recall": number(0.6, 0.9)}, [])[0].startswith("low diversity")  # a fault


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    data = pictures(folder / "data", 80)
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny = [*TINY, "--set=domain.Images.size=8", "--set=network.UNet.multipliers=[1, 1]", "--set=network.UNet.attention=[]"]
        assert unnoise(monkeypatch, "train", "pictures", "--data", data, "--out", folder / "run", *tiny) == 0
        assert unnoise(monkeypatch, "sample", folder / "run", "-n", 24, "--out", folder / "samples", "--threads", 1) == 0
    (folder / "samples" / "grid.png").unlink()
    return folder / "run"


def numbers(found: Evaluation) -> dict[str, float]:
    return {name: found.numbers[name].value for name in EXACT if name in found.numbers}


def test_samples_that_are_made_those_in_files_and_those_in_an_array_are_the_same(run: Path, tmp_path: Path) -> None:
    made = evaluate(run, Wish(24))
    filed = evaluate(run.parent / "samples", Wish(24, data=run.parent / "data"))
    x = made.shown.numpy()
    np.savez(tmp_path / "samples.npz", images=np.rint((x + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1))
    packed = evaluate(tmp_path / "samples.npz", Wish(24, data=run.parent / "data"))
    for other in (filed, packed):
        assert numbers(other) == pytest.approx(numbers(made), rel=1e-6, abs=1e-9)
    assert filed.numbers["frechet"].protocol == made.numbers["frechet"].protocol == packed.numbers["frechet"].protocol
    assert made.numbers["nfe"].value == 3 and made.numbers["seconds"].value > 0
    assert compare([made, filed]).table().count("\n") > len(made.numbers)
    made.write(tmp_path / "made.json")
    again = Evaluation.read(tmp_path / "made.json")
    assert again.numbers == made.numbers and again.verdict == made.verdict and again.about == json.loads(json.dumps(made.about))


def test_energy_is_told_where_it_can_be_read(run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(machine, "POWER", tmp_path)
    assert "joules" not in evaluate(run, Wish(16, features="raw", metrics=["speed"])).numbers
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "max_energy_range_uj").write_text("950000000")
        (tmp_path / name / "energy_uj").write_text("5")
    first = {"intel-rapl:0": (100.0, 950.0), "intel-rapl:1": (940.0, 950.0)}
    after = {"intel-rapl:0": (120.0, 950.0), "intel-rapl:1": (14.0, 950.0)}
    assert machine.spent(first, after) == pytest.approx(20 + 24) and machine.spent(None, after) is None
    assert machine.joules() == {"intel-rapl:0": (5e-6, 950.0), "intel-rapl:1": (5e-6, 950.0)}
    found = evaluate(run, Wish(16, features="raw", metrics=["speed"])).numbers["joules"]
    assert (
        found.value == 0
        and found.protocol == evaluate(run, Wish(16, features="raw", metrics=["speed"])).numbers["seconds"].protocol
    )


def test_unlike_protocols_are_not_compared(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    for name, options in (("a", ["-n", 16]), ("b", ["-n", 24]), ("c", ["-n", 16, "--steps", 2])):
        assert (
            unnoise(monkeypatch, "evaluate", run, *options, "--metrics", "frechet,speed", "--json", tmp_path / f"{name}.json")
            == 0
        )
    capsys.readouterr()
    assert unnoise(monkeypatch, "compare", tmp_path / "a.json", tmp_path / "b.json") == 2
    assert "measured in different ways" in capsys.readouterr().err
    assert unnoise(monkeypatch, "compare", tmp_path / "a.json", tmp_path / "c.json") == 0
    assert "frechet" in capsys.readouterr().out


def test_bad_input_is_one_line(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((20, 1, 9, 9), np.uint8))
    np.savez(tmp_path / "none.npz", other=np.zeros(3))
    (tmp_path / "text.npy").write_text("no array")
    data = run.parent / "data"
    cases = [
        ([tmp_path / "nowhere", "--data", data], "no such"),
        ([run.parent / "samples"], "--data"),
        ([run, "-n", 2], "at least 8"),
        ([run, "--metrics", "fid"], "expected some of frechet"),
        ([run, "--features", "vgg"], "expected raw"),
        ([run, "--features", "no_module:none"], "cannot be imported"),
        ([tmp_path / "wide.npy", "--data", data], "shape (1, 9, 9)"),
        ([tmp_path / "none.npz", "--data", data], "no member"),
        ([tmp_path / "text.npy", "--data", data], "not an array"),
    ]
    for options, words in cases:
        assert unnoise(monkeypatch, "evaluate", *options) == 2
        error = capsys.readouterr().err
        assert words in error and error.strip().splitlines()[-1].startswith("unnoise: ")


def test_two_ranks_make_the_same_files_and_numbers_as_one(run: Path, tmp_path: Path) -> None:
    ranks = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--rdzv-backend=c10d",
             "--rdzv-endpoint=localhost:0", "-m", "unnoise"]  # fmt: skip
    one = [sys.executable, "-m", "unnoise"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for command, name in ((one, "one"), (ranks, "two")):
        out, options = tmp_path / name, ["--threads", "1", "--device", "cpu"]
        for verb in (["sample", str(run), "-n", "11", "--out", str(out)],
                     ["evaluate", str(run), "-n", "150", "--features", "raw", "--json", f"{out}.json"]):  # fmt: skip
            done = subprocess.run([*command, *verb, *options], env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert len(list((tmp_path / "two").iterdir())) == 12
    a, b = (Evaluation.read(tmp_path / f"{name}.json") for name in ("one", "two"))
    for name, number in a.numbers.items():
        assert name in ("seconds", "joules") or number == b.numbers[name]


def test_points_and_signals_have_the_numbers_that_mean_something_for_them(tmp_path: Path) -> None:
    domain = Points("gaussians", n=2000)
    x, real = Points("gaussians", n=600, seed=5).dataset("train").batch(torch.arange(600))["x"], measure.real(domain)
    half = planted.judged(domain, real, x[x[:, 0] > 0])
    assert half.verdict[0].startswith("low diversity") and {"sliced_wasserstein", "mmd"} <= set(half.numbers)
    assert planted.judged(domain, real, x).verdict[0].startswith("no fault found")
    assert planted.judged(domain, real, 1.5 * x).verdict[0].startswith("unlike the data") and "detail" not in half.numbers
    signals = Rng(0, torch.arange(500)).normal((2, 64), "test").cumsum(2)
    np.save(tmp_path / "data.npy", signals[:300].numpy())
    np.save(tmp_path / "rough.npy", (signals[300:] + Rng(1, torch.arange(200)).normal((2, 64), "test")).numpy())
    found = evaluate(tmp_path / "rough.npy", Wish(200, data=tmp_path / "data.npy"))
    assert found.verdict[0].startswith("noisy") and "mmd" not in found.numbers and "accuracy" not in found.numbers


def test_features_are_trained_by_one_command_and_taken_by_file(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    short = train_autoencoder
    monkeypatch.setattr(features, "train_autoencoder", lambda x: short(x, steps=20, batch=16))
    data, file = run.parent / "data", tmp_path / "own.safetensors"
    assert unnoise(monkeypatch, "features", data, "--out", file) == 0
    assert "classifier" in capsys.readouterr().out
    assert unnoise(monkeypatch, "features", data, "--kind", "autoencoder", "--out", tmp_path / "code.safetensors") == 0
    assert "of the variance" in capsys.readouterr().out
    for name in (file, tmp_path / "code.safetensors", "pooled4", "autoencoder", "tests.test_evaluate:halves"):
        assert unnoise(monkeypatch, "evaluate", run, "-n", 16, "--features", name, "--metrics", "frechet,kid") == 0
    with pytest.raises(ValueError, match="classifier or autoencoder"):
        from unnoise.task.features import features as task

        task(data, kind="vgg")


def halves(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1)[:, ::2]


def test_inception_computes_what_torch_fidelity_computes() -> None:
    network = peers.network()
    names = [name for name in network.state_dict() if "num_batches" not in name]
    assert sorted(names)[:40] == PEERS["torch-fidelity inception names"]
    x = peers.pictures()
    found = network.features(x)
    assert found.shape == (2, 2048)
    expected = torch.tensor(PEERS["torch-fidelity inception features"]).reshape(2, 64)
    torch.testing.assert_close(found[:, :64], expected, rtol=1e-3, atol=1e-4)
    logits = torch.tensor(PEERS["torch-fidelity inception logits"]).reshape(2, 16)
    torch.testing.assert_close((found @ network.fc.weight.T)[:, :16], logits, rtol=1e-3, atol=1e-4)
    assert network.probabilities(found).sum(1).tolist() == pytest.approx([1, 1])
    assert network.digest != Inception().digest


def test_inception_takes_its_weights_from_either_file_and_refuses_others(run: Path, tmp_path: Path, monkeypatch) -> None:
    from safetensors.torch import save_file

    weights = peers.network().state_dict()
    save_file(weights, tmp_path / "inception.safetensors")
    torch.save(weights, tmp_path / "inception.pth")
    real = measure.real(Digits())
    found = [features.choose(str(tmp_path / f"inception.{end}"), real, "", None) for end in ("safetensors", "pth")]
    monkeypatch.setenv(features.VARIABLE, str(tmp_path / "inception.pth"))
    found.append(features.choose("inception", real, "", None))
    assert len({one.digest for one in found}) == 1 and found[0].name == "inception-bilinear"
    other = features.choose("inception-bicubic", real, "", None)
    assert other.name == "inception-bicubic" and other.features(peers.pictures()).shape == (2, 2048)
    with pytest.raises(ValueError, match="not an Inception network"):
        Inception().load({name: value for name, value in weights.items() if name != "fc.weight"})
    with pytest.raises(ValueError, match="no such file"):
        monkeypatch.setenv(features.VARIABLE, str(tmp_path / "none.pth"))
        features.choose("inception", real, "", None)


def test_without_a_network_inception_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(features.VARIABLE, raising=False)
    monkeypatch.setattr(features, "URL", "http://localhost:9/weights-6726825d.pth")
    with pytest.raises(ValueError, match="put the file at"):
        features.choose("inception", measure.real(Digits()), "", None)


@pytest.mark.parametrize("kind", ["dinov2", "clip"])
def test_transformers_give_rows(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}
    if kind == "dinov2":
        made = transformers.Dinov2Model(transformers.Dinov2Config(image_size=224, **small))
    else:
        config = transformers.CLIPVisionConfig(image_size=56, intermediate_size=32, projection_dim=12, **small)
        made = transformers.CLIPVisionModelWithProjection(config)
    made.save_pretrained(tmp_path)
    one = Transformer(kind, str(tmp_path))
    found = one.features(peers.pictures()[:, :1])
    assert found.shape == (2, 24 if kind == "dinov2" else 12) and torch.isfinite(found).all() and len(one.digest) == 16
    with pytest.raises(ValueError, match="no weights at"):
        Transformer(kind, str(tmp_path / "none"))


def test_the_reference_is_kept_by_all_that_it_depends_on() -> None:
    x, seen = torch.randn(300, 1, 8, 8, generator=torch.Generator().manual_seed(0)), []

    class Counted(Pooled):
        def features(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return super().features(x)

    first = reference(Counted(4, "some weights"), iter(x.split(100)), ["data", 1])
    again = reference(Counted(4, "some weights"), iter(x.split(100)), ["data", 1])
    assert (
        len(seen) == 3 and torch.equal(first.rows, again.rows) and torch.equal(first.moments.covariance, again.moments.covariance)
    )
    reference(Counted(4, "other weights"), iter(x.split(100)), ["data", 1])
    reference(Counted(4, "some weights"), iter(x.split(100)), ["data", 2])
    assert len(seen) == 9
    assert reference(Raw(), iter(x.split(100)), ["data", 1]).moments.n == 300


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 17, 30), (1, 100, 70)])
def test_the_autoencoder_takes_any_pictures(shape: tuple[int, ...]) -> None:
    x = torch.zeros(2, *shape)
    made = Autoencoder(shape)
    assert made.features(x).shape == (2, 64) and made(x).shape == made.scaled(x).shape
    with pytest.raises(ValueError, match="at least 8"):
        Autoencoder((1, 7, 9))
