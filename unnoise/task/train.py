"""Training: a recipe and data in, a run folder out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.condition import Conditions, complete, drop
from unnoise.model import Model
from unnoise.recipe import Recipe, RecipeError
from unnoise.task import machine, ranks, recognition
from unnoise.task.hooks import Health, Preview, Publish, Validate
from unnoise.tensor import Rng
from unnoise.train import Dataset, Hook, Trainer
from unnoise.train.ranks import joined
from unnoise.train.run import Prepare

FREE = ("model", "sampler", "times", "guidance", "domain.Images.root")  # may differ when a run goes on
COSTS = tuple(f"network.{name}.recompute" for name in ("UNet", "DiT", "NCSNpp"))  # memory for time, the same values


@dataclass(frozen=True)
class Setting:
    """What a recipe makes of a machine's data: all that the trainer is given."""

    trainer: Trainer
    model: Model
    objective: Any
    data: Dataset
    hooks: list[Hook]
    prepare: Prepare
    on: torch.device


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

    Over several processes (torchrun) each has its share of every batch, and the first writes.

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
    trainer: Trainer = recipe.build("train")
    with joined(machine.device(device), shard=trainer.shard, patience=trainer.patience) as several:
        with several.turn():  # what is decoded lies in the cache for the next
            setting = assemble(recipe, device, say)
        model = setting.model
        if pairing := getattr(setting.objective, "pairing", None):
            pairing.check(several.rows(trainer.batch), trainer.micro_batch)
        if not (out / "recipe.toml").exists():
            several.by_first(lambda: model.describe(out))
        options: dict[str, Any] = recipe.resolved().flat() | standardised(model.denoiser.conds)
        averaged = setting.trainer.fit(
            model.denoiser,
            setting.objective,
            setting.data,
            out,
            prepare=setting.prepare,
            hooks=setting.hooks,
            device=setting.on,
            init=init,
            options=options,
            safe=(*FREE, *COSTS),
            say=say,
        )
        several.by_first(lambda: model.describe(out))
        model.denoiser = averaged  # type: ignore[assignment]
    if several.first:
        with ranks.alone():
            _conclude(recipe, model, out, report, say)
    return model


def standardised(conds: Conditions) -> dict[str, float]:
    """The mean and deviation of each number, as options: a run does not go on with others, nor without any."""
    numbers = {name: one for name, one in conds.items() if (one.mean, one.std) != (0.0, 1.0)}
    return {f"conditions.{name}.{key}": getattr(one, key) for name, one in numbers.items() for key in ("mean", "std")}


def _conclude(recipe: Recipe, model: Model, out: Path, report: bool, say: Callable[[str], object]) -> None:
    """What follows a training: its report."""
    say(f"the model is in {out}")
    if report and recipe.classifies:
        told = recognition.write(out, model)
        bands = ", ".join(f"{band} {share:.1%}" for band, share in told["accuracy_by_band"].items())
        say(f"right on {told['accuracy']:.1%} of noised {told['split']} items; from data to noise {bands}")
    elif report:
        from unnoise.task.report import report as write_report

        write_report(out, say=say)
        say(f"its report: {out / 'report.html'}")


def assemble(recipe: Recipe, device: str, say: Callable[[str], object]) -> Setting:
    """Model, objective, data and hooks of a recipe, on a device.

    Raises:
        ValueError: For data or options that do not fit.
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
    if trainer.health_every and not recipe.classifies:
        hooks.append(Health(trainer.health_every, model, objective, data, held_out, say))
    model.codec.to(on)

    def prepare(batch: Mapping[str, Tensor], rng: Rng) -> Mapping[str, Tensor]:
        return model.learnt(drop(model.denoiser.conds, model.varied(batch, rng), rng), rng)

    return Setting(trainer, model, objective, data, hooks, prepare, on)


def build(recipe: Recipe, seed: int) -> Model:
    """A model with fresh weights, keyed by the seed; torch's own generator is left as it was.

    Raises:
        RecipeError: If its network cannot be made, or cannot take a sample of the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Model(recipe)
        _tried(model)
    return model


@torch.no_grad()
def _tried(model: Model) -> None:
    """Has the network answer once, so that options which do not fit its data are refused before anything begins."""
    network: Any = model.denoiser.network.eval()
    shape = model.codec.shape(model.domain.shape)
    try:
        told = () if model.recipe.classifies else (complete(model.denoiser.conds, {}, 1, torch.device("cpu")),)
        network(torch.zeros(1, *shape), torch.zeros(1), *told)
    except Exception as error:
        ((name, keys),) = model.recipe.members("network").items()
        given = ", ".join(f"{key} = {value!r}" for key, value in keys.items())
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecipeError(f"[network.{name}] cannot take samples of shape {tuple(shape)} with {given}: {said}") from error
    network.train()


def build_objective(recipe: Recipe, model: Model, seed: int) -> Any:
    """The objective; networks of its own learn of the model's samples, conditions and latent, and are keyed by the seed."""
    network: Any = model.denoiser.network
    given = {"shape": model.codec.shape(model.domain.shape), "conds": dict(model.denoiser.conds)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(Rng(seed).bits(1, "objective")))
        return recipe.build("loss", latent=getattr(network, "latent", 0), **given)


def _held_out(model: Model) -> Any:
    try:
        return model.domain.dataset("val")
    except ValueError:
        return None
