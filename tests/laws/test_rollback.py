"""Laws of `train/`: a run that met NaN goes back to its newest checkpoint and on at a lower rate, wherever it is killed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from injections import KINDS, inject
from torch import Tensor, nn
from training import STORY, Points, denoise, network, outcome, silent

from unnoise.tensor import Rng
from unnoise.train import NonFinite, Trainer, load
from unnoise.train.learner import Learner
from unnoise.train.log import Log
from unnoise.train.run import Run

LASTING = ("data nan", "data inf")
BACK = {**STORY, "rollbacks": 3}
CALLS = 2  # of the objective in a step of the story


class Struck:
    """Denoising whose loss is infinite at some steps, counted over all sessions and times back."""

    def __init__(self, *steps: int) -> None:
        self.at, self.calls = {CALLS * step for step in steps}, 0

    def __call__(self, model: nn.Module, batch: dict[str, Tensor], rng: Rng) -> Tensor:
        self.calls += 1
        losses = denoise(model, batch, rng)
        return losses * math.inf if self.calls in self.at else losses


def fit(folder: Path, objective: object, say: Callable[[str], object] = silent, **options: object) -> nn.Module:
    return Trainer(20, 8, **{**BACK, **options}).fit(network(0.2, norm=True), objective, Points(), folder, say=say)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [2, 11])
def test_injected(tmp_path, kind, step):
    found = inject(tmp_path, kind, step, rollbacks=2)
    assert found["kept"]
    if kind in LASTING:  # no rate mends the data: it ends at once
        assert found["in_step"] and found["one_line"] and not found["back"]
    elif kind == "lr":  # nor two halvings that one
        assert found["one_line"] and not found["finished"] and len(found["back"]) == 2 and found["lr_told"][2]
    else:
        (back,) = found["back"]
        assert found["finished"] and back["rolled_back"]["rate"] == 0.5
        assert back["rolled_back"]["from"] - back["step"] in (1, 2) and "is not finite" in back["rolled_back"]["because"]


@pytest.mark.parametrize(("bad", "to"), [(3, 0), (9, 6), (20, 18)])
def test_it_is_the_run_whose_rate_was_lower_from_there_on(tmp_path, bad, to):
    class Lower(Trainer):
        def rate(self, step: int) -> float:
            return super().rate(step) * (0.3 if step > to else 1)

    said: list[str] = []
    fit(tmp_path / "back", Struck(bad), say=said.append, rollback_rate=0.3)
    Lower(20, 8, **STORY).fit(network(0.2, norm=True), denoise, Points(), tmp_path / "lower", say=silent)
    back, lower = (outcome(tmp_path / name, 20) for name in ("back", "lower"))
    row = {"step": to, "rolled_back": {"from": bad, "rate": 0.3, "because": "the loss is not finite"}}
    assert back[0] == lower[0] and [one for one in back[2] if one != row] == lower[2] and row in back[2]
    assert any(line.startswith(f"step {bad}: the loss is not finite; back to step {to}, and on at lr") for line in said)


def test_without_the_option_nothing_changes(tmp_path, straight):
    fit(tmp_path / "a", denoise)
    a, b = (outcome(folder, 20) for folder in (tmp_path / "a", straight[0]))
    assert a[0] == b[0] and a[2] == b[2]
    with pytest.raises(NonFinite, match=r"step 9: the loss is not finite \(lr"):
        Trainer(20, 8, **STORY).fit(network(), Struck(9), Points(), tmp_path / "b", say=silent)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Back from 9 to 6, and from 15 (then the 18th that is computed) to 12."""
    folder = tmp_path_factory.mktemp("twice")
    fit(folder, Struck(9, 18))
    return folder


@pytest.mark.parametrize("place", ["written", "rewound", "restored", "next step", "later"])
@pytest.mark.parametrize("nth", [1, 2])
def test_killed_after_it_went_back_it_goes_on_to_the_same_bits(tmp_path, monkeypatch, twice, place, nth):
    objective, count = Struck(9, 18), 0

    def strike(owner: object, name: str, when: Callable[..., bool]) -> None:
        plain = getattr(owner, name)

        def struck(*arguments: object, **options: object) -> object:
            nonlocal count
            if when(*arguments):
                count += 1
                if count == nth:
                    raise RuntimeError("power cut")
            return plain(*arguments, **options)

        monkeypatch.setattr(owner, name, struck)

    if place == "written":  # the entry is there, and nothing else yet
        strike(Log, "rewind", lambda *_: True)
    elif place == "rewound":
        strike(Learner, "restore", lambda *_: True)
    elif place == "restored":
        strike(Log, "roll_back", lambda log, made, step: len(made) > log.rolled_back)
    else:
        after = {1: 7, 2: 13} if place == "next step" else {1: 10, 2: 19}
        strike(Run, "gradients", lambda run, step, parts: len(run.rollbacks) == nth and step == after[nth] and count < nth)
        count = nth - 1
    with pytest.raises(RuntimeError, match="power cut"):
        fit(tmp_path, objective)
    monkeypatch.undo()
    said: list[str] = []
    objective = Struck(18) if nth == 1 else Struck()
    objective.calls = _calls(tmp_path)
    fit(tmp_path, objective, say=said.append)
    assert outcome(tmp_path, 20) == outcome(twice, 20)
    assert any(line.startswith(f"it has gone back {nth} time") for line in said)


def _calls(folder: Path) -> int:
    """Of the objective, by the steps that led to where the folder stands and back."""
    saved = max((int(path.name[5:]) for path in (folder / "state").glob("step-*")), default=0)
    made = json.loads((folder / "state" / "rollbacks.json").read_text())
    return CALLS * (saved + sum(one["step"] - one["to"] for one in made))


def test_from_an_older_checkpoint_it_goes_on_to_the_same_bits(tmp_path, twice):
    shutil.copytree(twice, tmp_path / "run")
    for newest in sorted((tmp_path / "run" / "state").glob("step-*"), key=lambda path: int(path.name[5:]))[1:]:
        (newest / "state.safetensors").write_bytes(b"spoiled")
    fit(tmp_path / "run", denoise)
    assert outcome(tmp_path / "run", 20) == outcome(twice, 20)


def test_a_checkpoint_tells_what_a_lost_file_told(tmp_path, twice):
    shutil.copytree(twice, tmp_path / "run")
    (tmp_path / "run" / "state" / "rollbacks.json").unlink()
    shutil.rmtree(tmp_path / "run" / "state" / "step-20")
    fit(tmp_path / "run", denoise)
    assert outcome(tmp_path / "run", 20) == outcome(twice, 20)
    (tmp_path / "run" / "state" / "rollbacks.json").write_text("[{")
    with pytest.raises(ValueError, match=r"rollbacks.json cannot be read"):
        fit(tmp_path / "run", denoise)


def test_a_rate_that_is_too_high_is_found_out_and_lowered(tmp_path):
    def steep(model: nn.Module, batch: dict[str, Tensor], rng: Rng) -> Tensor:
        return denoise(model, batch, rng).exp()  # beyond 88 there is no float

    options = {"lr": 3.0, "ema": 0.0, "save_every": 5}
    with pytest.raises(NonFinite):
        Trainer(60, 8, **options).fit(network(), steep, Points(), tmp_path, say=silent)
    Trainer(60, 8, **options, rollbacks=12).fit(network(), steep, Points(), tmp_path, say=silent)  # a safe option: it goes on
    back = [row for row in map(json.loads, (tmp_path / "log.jsonl").open()) if "rolled_back" in row]
    saved = load(tmp_path / "state" / "step-60")
    assert 1 <= len(back) <= 12 and len(saved.state["rollbacks"]) == len(back)
    assert all(torch.isfinite(t).all() for t in saved.tensors.values())


@pytest.mark.parametrize("bad", [{"rollbacks": -1}, {"rollback_rate": 0.0}, {"rollback_rate": 1.0}, {"rollback_rate": math.nan}])
def test_options_that_cannot_be(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Trainer(1, 1, **bad)
