"""Parts of one's own, as the page of the documentation has them: its file, its recipe, its command, its lines, word for word."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import unnoise
from unnoise.denoiser import Gaussian
from unnoise.sampler import prior
from unnoise.schedule import Cosine
from unnoise.tensor import Rng
from unnoise.times import LogSNR

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text("utf-8")
QUICK = ["--set", "train.Trainer.steps=30", "--threads", "1", "--device", "cpu"]


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [text for named, text in found if named == language]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's file in it, from where that can be imported."""
    (tmp_path / "my_parts.py").write_text("\n\n".join(blocks("python")), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_parts", None)


def test_the_page_trains_and_samples_with_its_own_parts(parts: Path, run: Path) -> None:
    [recipe], [command], [python] = blocks("toml"), blocks(""), blocks("py")
    (parts / "tones.toml").write_text(recipe, "utf-8")
    words = [sys.executable, "-m", *shlex.split(command)[1:], *QUICK]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (parts / "runs/digits").symlink_to(run)
    names = {"unnoise": unnoise, "Between": importlib.import_module("my_parts").Between}
    exec(compile(python, "extend.md", "exec"), names)
    assert Image.open("tones.png").size == (256, 48 * 16)
    with pytest.raises(ValueError, match="outside the package"):
        unnoise.load("runs/tones")


def test_its_sampler_is_right_where_the_answer_is_known(parts: Path) -> None:
    """The variance at the end comes to that of the Gaussian as steps become short, whether noise is added on the way or not."""
    member = importlib.import_module("my_parts").Between
    schedule, rng = Cosine(), Rng(0, torch.arange(8000))
    oracle = Gaussian(schedule, torch.zeros(2), 0.25 * torch.eye(2))

    def end(high: float, steps: int) -> torch.Tensor:
        times = LogSNR()(schedule, steps)
        return member(high=high)(oracle, prior(schedule, (2,), times[0], rng), times, rng=rng)

    for high in (5.0, 0.0):
        coarse, fine = (abs(float(end(high, steps).var()) - 0.25) for steps in (60, 400))
        assert fine < 0.02 and fine < coarse / 3
    assert float((end(5.0, 60) - end(0.0, 60)).abs().mean()) > 0.1
