"""The command line as a person meets it: files, exit codes, one line for what is wrong."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unnoise.cli import run as entry

TINY = [
    "--set=network.UNet.width=8",
    "--set=network.UNet.heads=1",
    "--set=train.Trainer.steps=6",
    "--set=train.Trainer.batch=4",
    "--set=train.Trainer.save_every=3",
    "--set=train.Trainer.tensorboard=false",
    "--set=train.Trainer.preview_every=3",
    "--set=train.Trainer.validate_every=3",
    "--set=model.Defaults.batch=4",
    "--set=model.Defaults.steps=3",
    "--no-report",
]


def unnoise(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of a command run in this process."""
    monkeypatch.setattr(sys, "argv", ["unnoise", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        entry()
    return int(left.value.code or 0)


def pictures(folder: Path, n: int = 24, size: tuple[int, int] = (8, 8)) -> Path:
    """A folder of small grey pictures in two classes."""
    random = np.random.default_rng(0)
    for i in range(n):
        path = folder / ("dark", "light")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = random.integers(0, 120, size) + 120 * (i % 2)
        Image.fromarray(values.astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert unnoise(monkeypatch, "train", "digits", "--out", folder / "run", *TINY) == 0
    return folder / "run"


def test_a_run_is_one_folder(run: Path) -> None:
    for name in ("recipe.toml", "data.json", "weights.safetensors", "log.jsonl", "previews", "state"):
        assert (run / name).exists()
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 6
    assert any(set(row.get("held_out", {})) for row in rows)


def test_samples_their_metadata_and_their_reproduction(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unnoise(monkeypatch, "sample", run, "--seeds", "3,5-7", "--out", tmp_path / "a") == 0
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["3.png", "5.png", "6.png", "7.png", "grid.png"]
    assert unnoise(monkeypatch, "sample", run, "-n", 8, "--out", tmp_path / "b") == 0
    assert len(list((tmp_path / "b").iterdir())) == 9
    for name in ("3.png", "5.png", "7.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    text = Image.open(tmp_path / "a" / "5.png").text["unnoise"]  # type: ignore[attr-defined]
    recipe = json.loads(text)
    assert recipe["seed"] == 5 and recipe["steps"] == 3 and str(tmp_path) not in text
    for name in ("5.png", "grid.png"):
        assert unnoise(monkeypatch, "reproduce", tmp_path / "a" / name, "--run", run) == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--steps", 5, "--sampler", "DDIM", "--set", "sampler.DDIM.eta=0.5"],
        ["--scale", 2.5, "--cond", "label=3"],
        ["--cond", "label=none", "--seed", 100],
        ["--set", "times=LogSNR", "--precision", "bf16"],
    ],
)
def test_ways_of_sampling_are_reproduced(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[object]
) -> None:
    assert unnoise(monkeypatch, "sample", run, "-n", 2, "--out", tmp_path, *options) == 0
    picture = min(tmp_path.glob("[0-9]*.png"))
    assert unnoise(monkeypatch, "reproduce", picture, "--run", run) == 0


def test_the_same_command_resumes_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "digits", "--out", tmp_path / "run", *TINY]
    assert unnoise(monkeypatch, *command) == 0
    assert capsys.readouterr().out.startswith("new run")
    assert unnoise(monkeypatch, *command, "--set=train.Trainer.steps=9") == 0
    assert capsys.readouterr().out.startswith("resumes at 6 of 9")
    assert unnoise(monkeypatch, *command, "--set=train.Trainer.lr=1.0") == 2
    assert "train.Trainer.lr" in capsys.readouterr().err
    assert unnoise(monkeypatch, "train", "digits", "--out", tmp_path / "fine", "--init", tmp_path / "run", *TINY) == 0


def test_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path / "cache"))
    data = pictures(tmp_path / "mine", size=(8, 12))
    (data / "light" / "broken.png").write_bytes((data / "light" / "1.png").read_bytes()[:40])
    assert unnoise(monkeypatch, "check", data, "--no-forecast") == 0
    assert "broken.png" in capsys.readouterr().out
    tiny = [*TINY, "--set=domain.Images.size=[8, 12]", "--set=network.UNet.multipliers=[1, 1]", "--set=network.UNet.attention=[]"]
    assert unnoise(monkeypatch, "train", "pictures", "--data", data, "--out", tmp_path / "run", *tiny) == 0
    assert unnoise(monkeypatch, "sample", tmp_path / "run", "-n", 2, "--cond", "label=dark", "--out", tmp_path / "new") == 0
    assert Image.open(tmp_path / "new" / "0.png").size == (12, 8)
    assert Image.open(tmp_path / "new" / "0.png").mode == "L"
    assert unnoise(monkeypatch, "info", tmp_path / "run") == 0
    assert unnoise(monkeypatch, "noise", data, "--out", tmp_path / "noise.png") == 0
    assert min(Image.open(tmp_path / "noise.png").size) > 200


def test_bad_input_is_one_line_and_exit_code_2(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no picture")
    half = tmp_path / "half"
    half.mkdir()
    for name in ("recipe.toml", "data.json"):
        (half / name).write_bytes((run / name).read_bytes())
    weights = (run / "weights.safetensors").read_bytes()
    (half / "weights.safetensors").write_bytes(weights[: len(weights) // 2])
    cases: list[tuple[list[object], str]] = [
        (["train", "digts"], "did you mean 'digits'"),
        (["train", "digits", "--set", "sampler.DDIM.etaa=1"], "did you mean 'eta'"),
        (["train", "digits", "--data", tmp_path / "empty"], "own data"),
        (["train", "pictures"], "--data"),
        (["train", tmp_path / "texts"], f"unnoise train pictures --data {tmp_path / 'texts'}"),
        (["train", "pictures", "--data", tmp_path / "empty"], "empty"),
        (["train", "pictures", "--data", tmp_path / "texts"], "texts"),
        (["train", "pictures", "--data", tmp_path / "nowhere"], "nowhere"),
        (["train", "digits", "--device", "tpu"], "expected one of auto, cuda, mps, cpu"),
        (["train", "digits", "--threads", 0], "at least 1"),
        (["check", tmp_path / "texts"], "texts"),
        (["sample", tmp_path / "empty"], "no run folder"),
        (["sample", half], "weights.safetensors"),
        (["sample", run, "-n", 0], "at least 1"),
        (["sample", run, "--seeds", "4-1"], "ranges"),
        (["sample", run, "--steps", 0], "at least 1"),
        (["sample", run, "--cond", "label=12"], "no such class"),
        (["sample", run, "--cond", "lable=1"], "did you mean 'label'"),
        (["sample", run, "--cond", "label"], "NAME=VALUE"),
        (["sample", run, "--sampler", "Ancestrl"], "did you mean 'Ancestral'"),
        (["sample", run, "--set", "network.UNet.width=3"], "sampling changes"),
        (["sample", run, "--precision", "fp12"], "fp32 or bf16"),
        (["sample", run, "--stepz", 3], "--steps"),
        (["reproduce", tmp_path / "texts" / "a.txt"], "a.txt"),
        (["info", tmp_path], "no run folder"),
        (["trian", "digits"], "train"),
        (["frobnicate"], "`unnoise --help`"),
        (["explain", run, tmp_path / "nowhere.png"], "nowhere.png: no such file"),
        (["train"], "`unnoise train --help`"),
    ]
    for arguments, said in cases:
        assert unnoise(monkeypatch, *arguments) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert said in error, (arguments, error)
        assert error.count("\n") == 0 and "Traceback" not in error, error


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_the_list_of_verbs_has_whole_sentences(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where no word is given; on a narrow terminal a longer sentence would end in dots."""
    monkeypatch.setenv("COLUMNS", "80")
    assert unnoise(monkeypatch, *words) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2].partition("To begin")[0].strip().splitlines()
    assert len(listed) > 20
    assert [line for line in listed if not line.endswith(".") or line.endswith("..")] == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_saves_and_says_how_it_ended(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    options = [o for o in TINY if "steps" not in o and "save_every" not in o]
    script = "from unnoise.cli import run; run()"
    command = [
        sys.executable,
        "-c",
        script,
        "train",
        "digits",
        "--out",
        str(tmp_path),
        *options,
        "--set=train.Trainer.steps=100000",
    ]
    log = tmp_path / "log.jsonl"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        child.send_signal(sent)
        output, _ = child.communicate(timeout=60)
    assert child.returncode == code, output
    assert "Traceback" not in output
    assert list((tmp_path / "state").glob("step-*/manifest.json"))


@pytest.mark.parametrize(
    "arguments", [["train", "diggits"], ["train", "digits", "--set", "network.UNet.widht=1"], ["train", "digits", "--oot", "x"]]
)
def test_of_several_processes_one_says_what_is_wrong_for_all(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unnoise.cli.main.GRACE", 0)
    monkeypatch.setattr("sys.argv", ["unnoise", *arguments])
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(SystemExit) as left:
            entry()
        said = capsys.readouterr().err
        assert left.value.code == 2 and said.count("\n") == lines and ("rank 0 of 2: " in said) == bool(lines)
