"""A run folder made into its model, with suspicion: it may come from anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from unnoise.box import box
from unnoise.engine import attach, exported
from unnoise.model.base import FILES, Model
from unnoise.recipe import Recipe
from unnoise.train import read_weights
from unnoise.train.weights import MAX_TENSORS, assign
from unnoise.zoo.empty import Making, check_sizes, fill, unfilled
from unnoise.zoo.read import json_file, readable, text_file


def load(
    run: Path | str | None = None,
    *,
    device: torch.device | str = "cpu",
    overrides: Sequence[str] = (),
    allow: Collection[str] = (),
    engine: str = "eager",
) -> Model:
    """The model of a run folder, which needs nothing but itself: moved or copied it still works, without its data.

    Args:
        run: The folder; None: the model in the box, of faces, hands and flags.
        device: Where the model is put.
        overrides: "section.Name.key=value" changes of how it is sampled.
        allow: Names of code from outside the package ("module:Name") that the recipe may run.
        engine: What runs the network: "eager" (torch), or "onnx" (ONNX Runtime: no gradients; its file is made at first).

    Raises:
        ValueError: If this is not a run, none is named and none comes with the package, a file of it is damaged, or the engine
            cannot run here.
    """
    run = box() if run is None else run
    folder = Path(run)
    if engine == "onnx" and exported(folder):
        return _of_export(folder, device, overrides)
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        if exported(folder):
            raise ValueError(f'{run} holds its network for ONNX Runtime alone: --engine onnx, or load(..., engine="onnx")')
        what = "has no weights yet" if missing == [FILES[2]] else f"is no run folder (no {missing[0]})"
        raise ValueError(f"{run} {what}; expected the folder that `unnoise train` wrote")
    with readable(folder / FILES[0]):
        recipe = Recipe.parse(text_file(folder / FILES[0]), overrides, foreign=allow, name=str(folder / FILES[0]))
    check_sizes(recipe.sections)
    _check_runs(recipe, overrides, folder)
    facts = json_file(folder / FILES[1])
    weights, _ = read_weights(folder / FILES[2])
    with readable(folder):
        model = Model(recipe, facts, Making(len(weights)))
    fill(model.denoiser, weights, str(folder / FILES[2]))
    if unfilled(model.denoiser):  # a network that keeps something beside its weights
        model = Model(recipe, facts)
        assign(model.denoiser, weights, str(folder / FILES[2]))
    with open(folder / FILES[2], "rb") as file:
        model.digest = hashlib.file_digest(file, "sha256").hexdigest()
    model.denoiser.eval().requires_grad_(False)
    if engine != "eager":
        attach(model.denoiser, engine, folder, model.digest, device)
    return model.to(device)


def _of_export(folder: Path, device: torch.device | str, overrides: Sequence[str]) -> Model:
    """The model of a folder with an ONNX file in place of weights."""
    with readable(folder / FILES[0]):
        recipe = Recipe.parse(text_file(folder / FILES[0]), overrides, foreign=(), name=str(folder / FILES[0]))
    check_sizes(recipe.sections)
    _check_runs(recipe, overrides, folder)
    with readable(folder):
        model = Model(recipe, json_file(folder / FILES[1]), Making(MAX_TENSORS))
    model.digest = attach(model.denoiser, "onnx", folder, "", device)
    return model


def _check_runs(recipe: Recipe, overrides: Sequence[str], folder: Path) -> None:
    """A run may name another for its guidance only inside itself: a folder from elsewhere does not choose what is read here."""
    asked = {override.partition("=")[0].strip() for override in overrides}
    for name, keys in recipe.members("guidance").items():
        if "run" not in keys or f"guidance.{name}.run" in asked:
            continue
        inside = (folder / str(keys["run"])).resolve()
        if not inside.is_relative_to(folder.resolve()):
            raise ValueError(
                f"{folder}: [guidance.{name}] run = {keys['run']!r} lies outside of the run and is not read unasked; "
                f"to use it: --set guidance.{name}.run=FOLDER"
            )
        keys["run"] = str(inside)
