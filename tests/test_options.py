"""Random recipes and options: what cannot be is one line with the key, its value and what would be right, and exit code 2."""

from __future__ import annotations

import contextlib
import io
import random
import string
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import typer

from unnoise.cli import run as entry
from unnoise.cli.app import app
from unnoise.recipe import Recipe, parameters

BASES = {
    "digits": ["network.UNet.width=8", "network.UNet.heads=1", "network.UNet.multipliers=[1, 1]", "network.UNet.attention=[1]"],
    "points": ["network.MLP.width=8"],
    "classifier-digits": [],
    "vae-digits": [],
}
WRONG = ["abc", "[]", "[1, 2]", "-1", "-0.5", "nan", "1.5", "true", "{a = 1}"]  # for some keys one or the other is right
COMMAND = typer.main.get_command(app)


@dataclass(frozen=True)
class Case:
    """A change of a recipe. `key` must be told if it is refused; `near` is the name that is meant; `surely` that it is wrong."""

    recipe: str
    change: str
    key: str
    value: str = ""
    near: str = ""
    surely: bool = False


@cache
def members(recipe: str) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Each member of a resolved recipe with its parameters."""
    full = Recipe.read(recipe, BASES[recipe]).resolved()
    return [(s, n, parameters(full._member(s, n))) for s, held in full.sections.items() for n in held]


def misspelt(name: str, draw: random.Random) -> str:
    """A name with one slip: a letter left out, doubled, swapped or another."""
    k = draw.randrange(1, len(name) - 1) if len(name) > 2 else 0
    slips = [
        name[:k] + name[k + 1 :],
        name[:k] + name[k] + name[k:],
        name[:k] + draw.choice(string.ascii_lowercase) + name[k + 1 :],
    ]
    slip = draw.choice(slips)
    return slip if slip != name else name + name[-1]


def case(draw: random.Random) -> Case:
    recipe = draw.choice(list(BASES))
    section, name, known = draw.choice(members(recipe))
    kind = draw.choice(["section", "member", "key", "value", "value", "value", "text"])
    if kind == "section":
        return Case(recipe, f"{misspelt(section, draw)}={name}", "section", surely=True)
    if kind == "member":
        slip = misspelt(name, draw)
        return Case(recipe, f"{section}={slip}", slip, slip, name, surely=True)
    if kind == "text" or not known:
        bad = "".join(draw.choice(string.ascii_letters + ".[]{}'\" \\\t") for _ in range(draw.randint(1, 12)))
        return Case(recipe, bad, "", surely="=" not in bad)
    key = draw.choice(list(known))
    if kind == "key":
        slip = misspelt(key, draw)
        return Case(recipe, f"{section}.{name}.{slip}=1", slip, slip, key, surely=slip not in known)
    value = draw.choice(WRONG)
    return Case(recipe, f"{section}.{name}.{key}={value}", key, value, surely=value in ("nan", "{a = 1}"))


def told(wrong: Case, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and message of a training with this change that is stopped where it would begin."""
    changes = [f"--set={change}" for change in BASES[wrong.recipe]]
    arguments = ["unnoise", "train", wrong.recipe, *changes, f"--set={wrong.change}", "--out", "nowhere"]
    monkeypatch.setattr(sys, "argv", arguments)
    said = io.StringIO()
    with pytest.raises(SystemExit) as left, contextlib.redirect_stderr(said):
        entry()
    return int(left.value.code or 0), said.getvalue()


def fault(wrong: Case, code: int, said: str) -> str:
    """What is wrong with how a case was answered, if anything."""
    if code == 0:
        return "accepted" if wrong.surely else ""
    if code != 2:
        return f"exit code {code}"
    if said.count("\n") != 1 or "Traceback" in said:
        return "not one line"
    if wrong.key and wrong.key not in said:
        return "the key is not told"
    if wrong.value and wrong.value not in said:
        value = _plain(wrong.value)
        if not value and isinstance(value, list | dict):  # nothing is told as nothing: (), or "no conditions"
            return "" if "()" in said or "no " in said else "the value is not told"
        whole, parts = str(value) in said, all(part in said for part in _parts(value))
        return "" if whole or parts else "the value is not told"
    return ""


def _parts(value: Any) -> list[str]:
    """What is told of a value: of a list each part, of a table each key with its value, which are wrong by themselves."""
    if isinstance(value, dict):
        return [f"{key} = {part}" for key, one in value.items() for part in _parts(one)]
    if isinstance(value, list):
        return [part for one in value for part in _parts(one)]
    return [str(value)]


def _plain(value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> None:
    only_begun(monkeypatch)


def only_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings end where they would begin: everything is built, nothing is written. The command line is put together once."""
    monkeypatch.setattr("unnoise.cli.main.app", COMMAND)
    monkeypatch.setattr("unnoise.train.Trainer.fit", lambda *args, **options: (_ for _ in ()).throw(SystemExit(0)))
    monkeypatch.setattr("unnoise.model.Model.describe", lambda *args: None)


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 20))])
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_random_options(seed: int, begun: None, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, faults, refused = random.Random(seed), [], 0
    for _ in range(50):
        wrong = case(draw)
        code, said = told(wrong, monkeypatch)
        refused += code == 2
        if found := fault(wrong, code, said):
            faults.append((found, wrong.change, said))
    assert not faults and refused > 25, faults


def test_the_nearest_name_is_told(begun: None, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, right, asked = random.Random(5), 0, 0
    while asked < 40:
        wrong = case(draw)
        if wrong.near and len(wrong.near) > 4:
            _, said = told(wrong, monkeypatch)
            asked, right = asked + 1, right + (f"did you mean {wrong.near!r}" in said)
    assert right >= 0.85 * asked
