"""Training: a recipe and data in, a run folder out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.condition import drop
from unnoise.model import Model
from unnoise.recipe import Recipe, RecipeError
from unnoise.task import machine, recognition
from unnoise.task.hooks import Preview, Publish, Validate
from unnoise.tensor import Rng
from unnoise.train import Hook, Trainer
from unnoise.train.learner import modules

FREE = ("model", "sampler", "times", "guidance", "domain.Images.root")  # may differ when a run goes on


def read(source: str, data: Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe with the data and changes that were asked for.

    Raises:
        RecipeError: If it is not right, or has no place for a data folder.
    """
    recipe = Recipe.read(source)
    (domain,) = recipe.members("domain")
    if data is not None:
        if domain != "Images":
            raise RecipeError(f"recipe {source!r} brings its own data ({domain}); for a folder use the recipe 'pictures'")
        overrides = [f"domain.Images.root={str(data)!r}", *overrides]
    recipe = recipe.override(*overrides) if overrides else recipe
    (domain,) = recipe.members("domain")
    if domain == "Images" and not recipe.members("domain")[domain].get("root"):
        raise RecipeError(f"recipe {source!r} needs pictures: --data FOLDER (or a .tar.gz or .zip of one)")
    return recipe


def train(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    init: Path | None = None,
    report: bool = True,
    say: Callable[[str], object] = print,
) -> Model:
    """Trains what the recipe describes in the folder `out`, or goes on where that folder stands; returns the averaged model.

    Args:
        recipe: As `read` gives it.
        out: The run folder; the same recipe and folder resume.
        device: "auto", "cuda", "mps" or "cpu".
        init: A run, or its weights, to begin from (fine-tuning).
        report: Write `report.html` and `report.json` at the end.
        say: Takes the lines meant for a person.

    Raises:
        ValueError: For data, options or a folder that do not fit.
    """
    on = machine.device(device)
    trainer: Trainer = recipe.build("train")
    model = build(recipe, trainer.seed)
    objective = build_objective(recipe, model, trainer.seed)
    data, held_out = model.domain.dataset("train"), _held_out(model)
    hooks: list[Hook] = [
        Validate(trainer.validate_every, model, objective, data, held_out),
        *([] if recipe.classifies else [Preview(trainer.preview_every, model)]),
        Publish(trainer.save_every),
    ]
    model.codec.to(on)

    def prepare(batch: Mapping[str, Tensor], rng: Rng) -> Mapping[str, Tensor]:
        return model.learnt(drop(model.denoiser.conds, batch, rng), rng)

    if not (out / "recipe.toml").exists():
        model.describe(out)
    options: dict[str, Any] = recipe.resolved().flat()
    averaged = trainer.fit(
        model.denoiser,
        objective,
        data,
        out,
        prepare=prepare,
        hooks=hooks,
        device=on,
        init=init,
        options=options,
        safe=FREE,
        say=say,
    )
    model.describe(out)
    model.denoiser = averaged  # type: ignore[assignment]
    say(f"the model is in {out}")
    if report and recipe.classifies:
        told = recognition.write(out, model)
        bands = ", ".join(f"{band} {share:.1%}" for band, share in told["accuracy_by_band"].items())
        say(f"right on {told['accuracy']:.1%} of noised {told['split']} items; from data to noise {bands}")
    elif report:
        from unnoise.task.report import report as write_report

        write_report(out, say=say)
        say(f"its report: {out / 'report.html'}")
    return model


def build(recipe: Recipe, seed: int) -> Model:
    """A model with fresh weights, keyed by the seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(recipe)


def build_objective(recipe: Recipe, model: Model, seed: int) -> Any:
    """The objective; networks of its own learn of the model's samples, conditions and latent, and are keyed by the seed."""
    network: Any = model.denoiser.network
    given = {"shape": model.codec.shape(model.domain.shape), "conds": dict(model.denoiser.conds)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(Rng(seed).bits(1, "objective")))
        return recipe.build("loss", latent=getattr(network, "latent", 0), **given)


def forecast(recipe: Recipe, device: str = "auto") -> dict[str, Any]:
    """What training would take, from three steps of it: parameters, items, seconds a step, hours in all, checkpoint size."""
    on = machine.device(device)
    trainer: Trainer = recipe.build("train")
    model = build(recipe, trainer.seed)
    objective = build_objective(recipe, model, trainer.seed)
    modules(objective).to(on)
    denoiser, data = model.denoiser.to(on), model.domain.dataset("train")
    batch = {name: value.to(on) for name, value in data.batch(torch.arange(trainer.batch) % len(data)).items()}
    seconds = []
    for step in range(3):
        started, rng = time.perf_counter(), Rng(0, torch.arange(trainer.batch)).at(step)
        objective(denoiser, model.learnt(batch, rng), rng).mean().backward()
        if on.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    parameters = sum(p.numel() for p in denoiser.parameters())
    return {
        "parameters": parameters,
        "items": len(data),
        "shape": list(model.domain.shape),
        "seconds_per_step": round(min(seconds), 4),
        "hours": round(min(seconds) * trainer.steps / 3600, 2),
        "megabytes_on_disk": round(parameters * 4 * (4 * trainer.keep + 1) / 1e6, 1),
    }


def _held_out(model: Model) -> Any:
    try:
        return model.domain.dataset("val")
    except ValueError:
        return None
