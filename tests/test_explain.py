"""A walk told on a page: what stands on it agrees with the forward process and the truth, and it needs nothing from outside."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.cli import run as entry
from unnoise.denoiser import Empirical
from unnoise.model import load
from unnoise.task import explain as room
from unnoise.task.explain import Look, Told, explain, sentence
from unnoise.task.explain.page import first, page
from unnoise.task.sample import Order

QUICK = Order([3], overrides=["model.Defaults.steps=5"])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a<b>.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def walk(run: Path) -> Told:
    return explain(run, None, QUICK)


def parts_agree(looks: list[Look]) -> None:
    """x_t = alpha x0 + sigma eps of what is predicted, and the signal rises all the way."""
    for look in looks:
        scale = max(1.0, (look.alpha**2 + look.sigma**2) ** 0.5)
        assert torch.allclose(scale * look.x, look.alpha * look.x0 + 3 * look.sigma * look.eps, atol=1e-3)
    assert all(a.t > b.t and a.snr < b.snr for a, b in itertools.pairwise(looks))


def test_a_walk_from_noise_ends_at_its_own_truth(walk: Told) -> None:
    assert len(walk.looks) == 5
    parts_agree(list(walk.looks))
    assert torch.equal(walk.looks[-1].x0, walk.truth) and walk.looks[-1].error == 0
    assert walk.looks[0].error > 0


def test_the_walk_is_the_one_that_sampling_makes(run: Path, walk: Told) -> None:
    made = load(run, overrides=QUICK.overrides).sample(seeds=[3])
    assert torch.allclose(made, walk.truth, atol=1e-4)


def test_a_picture_is_noised_by_one_draw(run: Path, picture: Path) -> None:
    told = explain(run, picture, QUICK)
    parts_agree(list(told.looks))
    noises = [(look.x - look.alpha * told.truth) / look.sigma for look in told.looks]
    assert all(torch.allclose(noise, noises[0], atol=1e-3) for noise in noises)
    assert all(look.end is not None for look in told.looks[:-1])
    for look, noise in zip(told.looks, noises, strict=True):
        assert look.loss == pytest.approx(float((3 * look.eps - noise).square().mean()), rel=1e-2, abs=1e-4)


def test_whoever_knows_the_picture_has_no_loss(run: Path, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(run)
    model.denoiser = Empirical(model.denoiser.schedule, model.domain.load([picture]))  # type: ignore[assignment]
    model.guidance = []
    monkeypatch.setattr(room, "prepared", lambda run, order: (model, 1))
    monkeypatch.setattr(type(model), "device", torch.device("cpu"))
    told = explain(run, picture, QUICK)
    for look in told.looks:
        assert look.loss < 1e-6 and look.error < 1e-3 and look.contrast == pytest.approx(1, abs=1e-3)


def test_the_page_needs_nothing_from_outside(run: Path, picture: Path, walk: Told) -> None:
    for told in (walk, explain(run, picture, QUICK)):
        text = page(told, "mine & <i>", "unnoise explain")
        addresses = re.findall(r'(?:src|href|url)[=(]["\']?([^"\')\s]+)', text)
        assert all(address.startswith(("data:", "#")) for address in addresses)
        assert "http" not in text and "@import" not in text
        assert text.count("<td>0.") + text.count("<td>1.") >= len(told.looks)
        assert len(re.findall(r'data-k="\d+"', text)) == len(told.looks)
        assert "mine &amp; &lt;i&gt;" in text and "<i>mine" not in text and "a<b>" not in text
        assert f"look({first(told)})" in text


def test_sentences_follow_the_numbers(walk: Told) -> None:
    look = walk.looks[0]
    said = [
        sentence(look._replace(alpha=a, sigma=s), None, True).split(".")[0] for a, s in ((1e-4, 1), (0.2, 1), (1, 1), (1, 0.01))
    ]
    assert len(set(said)) == 4
    assert "50 % nearer" in sentence(look._replace(error=0.1), look._replace(error=0.2), False)
    assert "nearer" not in sentence(look._replace(error=0.2), look._replace(error=0.1), False)


def test_one_line_for_what_cannot_be(
    run: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([run, picture, picture], [run, picture.with_name("none.png")], [run.parent / "none", picture]):
        monkeypatch.setattr(sys, "argv", ["unnoise", "explain", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            entry()
        assert left.value.code == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
