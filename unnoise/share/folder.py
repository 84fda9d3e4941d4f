"""Folders that are whole or absent, and what of a run may leave its machine."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import unnoise
from unnoise.certificate import Certificate, answers, compare, questions
from unnoise.recipe import Recipe
from unnoise.share.card import Card
from unnoise.train import disk, read_weights, write_weights
from unnoise.train.weights import assign

RECIPE, FACTS, WEIGHTS = "recipe.toml", "data.json", "weights.safetensors"


@contextmanager
def finished(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when the block ends well, and is gone when it does not.

    Raises:
        ValueError: If `folder` exists and is not empty.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not empty; name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = disk.scratch(folder.resolve())
    draft.mkdir()
    try:
        yield draft
        if folder.exists():
            folder.rmdir()
        os.replace(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def save(model: Any, folder: Path, card: Card, half: bool = False) -> Certificate:
    """Writes a model as a run folder that `load` reads anywhere, into a new folder: recipe, facts, weights, card, certificate.

    What is written is what the network holds; it is read back and asked before the folder gets its name. No optimizer, no path
    of this machine. Where `half`, weights are rounded to half precision first, and the proof is of the rounded ones.

    Raises:
        ValueError: If the recipe names files of this machine that sampling needs, the folder is not empty, or the proof fails.
    """
    with finished(Path(folder)) as draft:
        model = rounded(model) if half else model
        describe(model, draft)
        step = {"step": str(card.row["step"])} if "step" in card.row else {}
        weights = model.denoiser.state_dict()
        weights = {name: one.half() if half and one.is_floating_point() else one for name, one in weights.items()}
        write_weights(draft / WEIGHTS, weights, {"format": "unnoise", **step})
        certificate = _proof(model, draft)
        certificate.write(draft)
        (draft / "README.md").write_text(card.text(model, certificate), "utf-8")
    return certificate


def rounded(model: Any) -> Any:
    """The same model with weights that half precision can hold."""
    made = copy.copy(model)
    made.denoiser = copy.deepcopy(model.denoiser)
    with torch.no_grad():
        for one in made.denoiser.state_dict().values():
            if one.is_floating_point():
                one.copy_(one.half())
    return made


def describe(model: Any, folder: Path) -> None:
    """Writes the recipe and the facts of the data, as far as others need them."""
    (folder / RECIPE).write_text(portable(model.recipe.resolved()).dump(), "utf-8")
    facts = {name: value for name, value in model.domain.facts().items() if name != "notes"}
    (folder / FACTS).write_text(json.dumps(facts, indent=1), "utf-8")


def portable(recipe: Recipe) -> Recipe:
    """The recipe without where the data lie.

    Raises:
        ValueError: For another path of this machine: of a run that a guidance asks, for one.
    """
    sections = copy.deepcopy({section: dict(members) for section, members in recipe.sections.items()})
    for keys in sections.get("domain", {}).values():
        keys.update({key: "" for key in keys if key == "root"})
    for section, members in sections.items():
        for name, keys in members.items():
            for key, value in keys.items():
                if key == "run" or (isinstance(value, str) and (os.path.isabs(value) or value.startswith("~"))):
                    raise ValueError(
                        f"[{section}.{name}] {key} = {value!r} names files of this machine, which a model for others "
                        f"cannot carry; take [{section}.{name}] out of the recipe"
                    )
    return Recipe(sections, recipe.foreign)


def read_run(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The last row of a run's log and the figures of its report; empty where there are none."""
    log, report = folder / "log.jsonl", folder / "report.json"
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.endswith("}")] if log.is_file() else []
    merged: dict[str, Any] = {}
    for row in rows[-20:]:
        merged |= row
    return merged, json.loads(report.read_text("utf-8")) if report.is_file() else {}


def _proof(model: Any, folder: Path) -> Certificate:
    """The files read back into a network of their own, beside the one in memory."""
    read = copy.deepcopy(model.denoiser).cpu()
    with torch.no_grad():
        for parameter in read.parameters():
            parameter.fill_(torch.nan)
    assign(read, read_weights(folder / WEIGHTS)[0], str(folder / WEIGHTS))
    network = read.network
    t = torch.tensor([1.0, 0.5, 0.25, max(model.denoiser.schedule.t_min, 1e-3)], dtype=torch.float64)
    asked = questions(
        model.codec.shape(model.domain.shape), network.conds, model.denoiser.level(model.denoiser.schedule, t).tolist()
    )
    ours = copy.deepcopy(model.denoiser.network).cpu().eval()
    compared = compare("outputs of the files, read back", answers(network.eval(), asked), answers(ours, asked), 0.0)
    sides = {
        "in memory": {"version": unnoise.__version__, "torch": torch.__version__},
        "files": {WEIGHTS: disk.digest(folder / WEIGHTS)},
    }
    return Certificate(sides, asked.facts(), (compared,)).demand()
