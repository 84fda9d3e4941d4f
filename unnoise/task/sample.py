"""Sampling into files, each of which says how to make it again."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import unnoise
from unnoise import box
from unnoise.condition import Condition, held
from unnoise.model import Defaults, Model, load
from unnoise.recipe import Recipe
from unnoise.sampler import Moment
from unnoise.task import machine, ranks

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "unnoise"  # of the metadata in a picture's text
SECTIONS = ("sampler", "times", "guidance")


@dataclasses.dataclass(frozen=True)
class Order:
    """What is asked for: seeds, and what differs from the model's defaults.

    Args:
        seeds: One a sample.
        cond: As `Model.sample` takes it; None draws from the training distribution.
        overrides: "section.Name.key=value" of sampler, times, guidance and model.
        device, precision, threads: Of this run.
        engine: What runs the network: "eager" or "onnx".
    """

    seeds: Sequence[int]
    cond: Mapping[str, Any] | None = None
    overrides: Sequence[str] = ()
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    engine: str = "eager"


def sample(run: Path, order: Order, out: Path, progress: Callable[[int, int], object] | None = None) -> list[Path]:
    """Writes `<seed>.png` (or what the data's files are) for each seed and `grid.png` into `out`, and says which.

    Over several ranks each makes its share, and the first writes them: the same files. The others get no paths.

    Raises:
        ValueError: For a folder that is no run, or an order it cannot follow.
    """
    for override in order.overrides:
        if override.partition(".")[0].partition("=")[0] not in (*SECTIONS, "model"):
            raise ValueError(f"--set {override}: sampling changes {', '.join(SECTIONS)} and model alone; the rest is trained")
    model, threads = prepared(run, order)
    seeds = list(order.seeds)
    cond = model.draw(seeds) if order.cond is None else model.conditions(order.cond, len(seeds))
    x = _shared(model, seeds, cond, progress)
    if x is None:
        return []
    recipes = descriptions(model, seeds, cond, describe(model, 0, {}, threads))
    texts = [{KEY: json.dumps(recipe)} for recipe in recipes]
    paths = model.domain.save(x, out, [str(seed) for seed in seeds], texts)
    return [*paths, grid(model, x, seeds, recipes, out / "grid.png")]


def _shared(
    model: Model, seeds: list[int], cond: Mapping[str, Tensor], progress: Callable[[int, int], object] | None
) -> Tensor | None:
    """Samples, made by all ranks in blocks of the execution batch; None on all but the first."""
    callback = _counting(progress, model, -(-len(seeds) // ranks.world()))

    def make(rows: Tensor) -> Tensor:
        some = {name: value[rows] for name, value in cond.items()}
        return model.sample(seeds=[seeds[i] for i in rows], cond=some, callback=callback)

    with ranks.group():
        made = list(ranks.each(list(torch.arange(len(seeds)).split(model.defaults.batch)), make))
    return torch.cat(made) if made else None


def prepared(run: Path, order: Order) -> tuple[Model, int]:
    """The run's model as the order wants it, and the number of threads."""
    threads = machine.threads(order.threads)
    model = load(run, device=machine.device(order.device), overrides=order.overrides, engine=order.engine)
    model.precision = machine.precision(order.precision)
    if order.engine != "eager" and model.precision != "fp32":
        raise ValueError(f"--engine {order.engine} computes in fp32; precision {model.precision} is for the eager engine")
    return model, threads


def describe(model: Model, seed: int, cond: Mapping[str, Tensor], threads: int) -> dict[str, Any]:
    """All that makes one sample what it is, and nothing else: no date, no path, none of the samples beside it.

    What a conditional model was shown is a held-out picture that the seed draws again.
    """
    told = {name: value for name, value in cond.items() if not (model.shown and name in model.shown.conds)}
    sections = {section: dict(model.recipe.resolved().members(section)) for section in SECTIONS}
    for name, keys in sections["guidance"].items():  # another run is known by its weights, wherever it lies
        sections["guidance"][name] = keys | ({"run": model.lender(keys["run"]).digest} if keys.get("run") else {})
    return {
        "version": unnoise.__version__,
        "torch": torch.__version__,
        "weights": model.digest,
        "seed": seed,
        "cond": {name: plain(model.conds[name], value) for name, value in told.items()},
        **sections,
        "steps": model.defaults.steps,
        "execution_batch": model.defaults.batch,
        "threads": threads,
        "device": model.device.type,
        "precision": model.precision,
        **getattr(model.denoiser.network, "facts", {}),  # of another engine than torch's
    }


def descriptions(
    model: Model, seeds: Sequence[int], cond: Mapping[str, Tensor], alike: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The same for each of several samples, of what is said of one of them."""
    conds = model.conds
    told = {name: value for name, value in cond.items() if not (model.shown and name in model.shown.conds)}
    return [
        {**alike, "seed": seed, "cond": {name: plain(conds[name], value[i]) for name, value in told.items()}}
        for i, seed in enumerate(seeds)
    ]


def read(file: Path) -> dict[str, Any]:
    """The recipe that a sample's file carries.

    Raises:
        ValueError: If there is none.
    """
    from PIL import Image, UnidentifiedImageError

    beside = file.with_suffix(".json")
    try:
        if file.suffix == ".npy" and beside.is_file():
            text = json.loads(beside.read_text("utf-8")).get(KEY)
        else:
            with Image.open(file) as picture:
                text = getattr(picture, "text", {}).get(KEY)
        recipe = json.loads(text) if text else None
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read as a sample: {error}") from error
    if not isinstance(recipe, dict) or "weights" not in recipe:
        raise ValueError(f"{file} carries no recipe of unnoise; expected a file that `unnoise sample` wrote")
    return recipe


def reproduce(file: Path, run: Path | None = None, out: Path | None = None) -> tuple[Path, bool]:
    """Makes a sample again from its own metadata; the new file, and whether it is the same to the byte.

    Args:
        file: Written by `sample`.
        run: Its run; without it, the folders above the file and those in `runs/` are searched for its weights.
        out: Where the new file goes, `again/` beside the old one by default.

    Raises:
        ValueError: If the file carries no recipe, or no run has its weights.
    """
    recipe = read(file)
    if "cascade" in recipe:
        raise ValueError(f"{file} was made by a cascade; repeat it: unnoise sample CASCADE --seeds {recipe.get('seed')}")
    if "edit" in recipe:
        raise ValueError(f"{file} was made of another picture; repeat `unnoise edit` on that (its SHA-256 is in the metadata)")
    if "animation" in recipe:
        raise ValueError(f"{file} is a film; repeat `unnoise animate` with what its metadata say")
    run = run or _find(recipe["weights"], file)
    order = Order(
        seeds=recipe.get("seeds", [recipe.get("seed")]),
        cond=recipe["cond"],
        overrides=[f"model.Defaults.batch={recipe['execution_batch']}", f"model.Defaults.steps={recipe['steps']}"],
        device=recipe["device"],
        precision=recipe["precision"],
        threads=recipe["threads"],
        engine=recipe.get("engine", "eager"),
    )
    model, threads = prepared(run, order)
    if model.digest != recipe["weights"]:
        raise ValueError(f"{run} has other weights than {file.name} was made with")
    model = with_sections(model, _with_runs(recipe, file, run))
    cond = model.conditions(recipe["cond"], len(order.seeds))
    x = model.sample(seeds=order.seeds, cond=cond)
    out = out or file.parent / "again"
    if "seeds" in recipe:
        recipes = descriptions(model, order.seeds, cond, describe(model, 0, {}, threads))
        out.mkdir(parents=True, exist_ok=True)
        made = grid(model, x, order.seeds, recipes, out / file.name)
    else:
        text = {KEY: json.dumps(describe(model, recipe["seed"], {n: v[0] for n, v in cond.items()}, threads))}
        (made,) = model.domain.save(x, out, [file.stem], [text])
    return made, made.read_bytes() == file.read_bytes()


def with_sections(model: Model, recipe: Mapping[str, Any]) -> Model:
    """The model with the sampler, times and guidance that a sample was made with."""
    sections = {name: keys for name, keys in model.recipe.sections.items() if name not in SECTIONS}
    changed = Recipe({**sections, **{name: recipe[name] for name in SECTIONS if recipe.get(name)}}, model.recipe.foreign)
    changed.check()
    return sampling_by(model, changed, model.defaults)


def sampling_by(model: Model, recipe: Recipe, defaults: Defaults | None = None) -> Model:
    """A model of the same parts that samples as another recipe says, with its defaults unless others are given."""
    changed = copy.copy(model)
    changed.recipe, changed.sampler, changed.times = recipe, recipe.build("sampler"), recipe.build("times")
    changed.guidance = recipe.build_all("guidance")
    changed.defaults = defaults or (recipe.build("model") if recipe.members("model") else Defaults())
    return changed


def seeds(text: str) -> list[int]:
    """Seeds as a person writes them: "7", "0-63", "3,5,9-12".

    Raises:
        ValueError: If it is none of these.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise ValueError(f"seeds {text!r}: expected numbers and ranges such as 0-63 or 3,5,9-12")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def _counting(progress: Callable[[int, int], object] | None, model: Model, n: int) -> Callable[[Moment], object] | None:
    """Tells `progress` the steps done and those there are, over all batches."""
    if progress is None:
        return None
    batches, done = -(-n // model.defaults.batch), itertools.count(1)
    return lambda moment: progress(next(done), batches * model.defaults.steps)


def grid(model: Model, x: Tensor, seeds: Sequence[int], recipes: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """All samples on one picture, which says of each what its own file says."""
    from PIL.PngImagePlugin import PngInfo

    shared = {key: value for key, value in recipes[0].items() if key not in ("seed", "cond")}
    cond = {name: [recipe["cond"][name] for recipe in recipes] for name in recipes[0]["cond"]}
    text = PngInfo()
    text.add_text(KEY, json.dumps({**shared, "seeds": list(seeds), "cond": cond}))
    model.domain.grid(x).save(path, pnginfo=text)
    return path


def scaled(run: Path, overrides: Sequence[str]) -> str:
    """The rule of guidance whose scale a person means: the innermost that has one, or else classifier-free guidance."""
    from unnoise import guidance
    from unnoise.recipe import parameters

    recipe = Recipe.parse((run / "recipe.toml").read_text("utf-8"), overrides) if (run / "recipe.toml").is_file() else None
    members = recipe.members("guidance") if recipe else {}
    return next((n for n in members if ":" not in n and "scale" in parameters(getattr(guidance, n))), "CFG")


def _with_runs(recipe: Mapping[str, Any], file: Path, run: Path) -> Mapping[str, Any]:
    """The recipe of a sample with the folders of the runs that its guidance asks, found by their weights."""
    beside = [*sorted(run.resolve().parent.glob("*")), *sorted(run.glob("*"))]
    guidance = {
        name: keys | ({"run": str(_find(keys["run"], file, beside))} if keys.get("run") else {})
        for name, keys in recipe["guidance"].items()
    }
    return {**recipe, "guidance": guidance}


def _find(digest: str, file: Path, beside: Sequence[Path] = ()) -> Path:
    import hashlib

    near = [*file.resolve().parents[:3], *beside, *sorted(Path("runs").glob("*")), box.BOX]
    for folder in near:
        weights = folder / "weights.safetensors"
        if weights.is_file() and hashlib.sha256(weights.read_bytes()).hexdigest() == digest:
            return folder
    raise ValueError(f"no run near {file} has the weights it was made with; name it: --run RUN")


def plain(condition: Condition, value: Tensor) -> Any:
    """A condition's value for JSON: a class by name, None for the null."""
    if condition.classes:
        return condition.classes[int(value)] if int(value) < len(condition.classes) else None
    if value.isnan().all():
        return None
    return "+".join(held(condition, value)) if condition.words else value.tolist()
