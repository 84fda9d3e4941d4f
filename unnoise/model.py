"""A model: data, denoiser and the ways to use them, in one thing that is saved, loaded and sampled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unnoise.codec import Codec
from unnoise.condition import Condition, unknown_condition
from unnoise.denoiser import Denoise, Denoiser
from unnoise.domain import Domain
from unnoise.guidance import Guidance, Guided
from unnoise.recipe import Recipe, RecipeError
from unnoise.sampler import Moment, Sampler, prior
from unnoise.tensor import Rng
from unnoise.times import Times
from unnoise.train import read_weights, write_weights
from unnoise.train.weights import assign

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Defaults", "Model", "load"]

Value = Any  # of a condition: one for all samples (a class by name or number, a number, a vector), or one for each
FILES = ("recipe.toml", "data.json", "weights.safetensors")


@dataclass(frozen=True)
class Defaults:
    """How a model is sampled unless told otherwise.

    Args:
        steps: Times in a walk.
        batch: Samples that are computed together: always so many, the last batch filled up, because a network's arithmetic
            depends on the size of its batch. With it and the number of threads a picture is the same to the bit in any company.
    """

    steps: int = 20
    batch: int = 16

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")


class Model:
    """What a recipe describes: domain, codec, denoiser, and the defaults of sampling.

    Args:
        recipe: Builds every part.
        facts: Of the domain (`data.json` of a run); without them the domain reads its data.

    Attributes:
        recipe: As given.
        domain, codec, denoiser: The parts that training knows too.
        sampler, times, guidance, defaults: The parts that only sampling knows.
        precision: "fp32", or "bf16" to run the network under autocast.
        digest: SHA-256 of the weights' file, "" before there is one.
    """

    def __init__(self, recipe: Recipe, facts: Mapping[str, Any] | None = None) -> None:
        self.recipe = recipe
        domain: Domain = recipe.build("domain")
        self.domain = domain if facts is None else domain.with_facts(facts)
        self.codec: Codec = recipe.build("codec")
        network = recipe.build("network", shape=self.codec.shape(self.domain.shape), conds=self.domain.conds)
        schedule = recipe.build("schedule")
        predict, level = recipe.build("prediction", schedule=schedule), recipe.build("level")
        try:
            self.denoiser = Denoiser(network, schedule, predict, level, self.domain.project)
        except ValueError as error:
            raise RecipeError(str(error)) from error
        self.sampler: Sampler = recipe.build("sampler")
        self.times: Times = recipe.build("times")
        self.guidance: list[Guidance] = recipe.build_all("guidance")
        self.defaults: Defaults = recipe.build("model") if recipe.members("model") else Defaults()
        self.precision, self.digest = "fp32", ""

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    def to(self, device: torch.device | str) -> Model:
        """Moves the model to a device, and returns it."""
        self.denoiser.to(device)
        self.codec.to(device)
        return self

    @torch.no_grad()
    def sample(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        steps: int | None = None,
        sampler: Sampler | None = None,
        times: Times | None = None,
        cond: Mapping[str, Value] | None = None,
        scale: float | None = None,
        guidance: Sequence[Guidance] | None = None,
        callback: Callable[[Moment], object] | None = None,
    ) -> Tensor:
        """New samples, (n, *shape), on the CPU. Sample i is a function of its own seed, whatever the others are.

        Args:
            n: How many; their seeds are seed, seed + 1, ...
            seed: The first seed.
            seeds: The seeds themselves, instead of n and seed.
            steps: Times in the walk.
            sampler, times, guidance: In place of the model's own.
            cond: One value for all samples or a sequence of n, for some or all of the conditions; a condition that is not
                named is at its null. Without any (None), conditions are drawn as the training data have them, keyed by the seed.
            scale: Of classifier-free guidance (1: none).
            callback: Given each moment of the walk, of one batch after another.

        Raises:
            ValueError: For a condition, class or number that the model cannot take.
        """
        seeds = list(range(seed, seed + (1 if n is None else n))) if seeds is None else list(seeds)
        if not seeds or (n is not None and n != len(seeds)):
            raise ValueError(f"n is {n} with {len(seeds)} seeds; expected at least one sample, and one seed for each")
        values = self.draw(seeds) if cond is None else self.conditions(cond, len(seeds))
        denoiser = self.guided(self.guidance if guidance is None else guidance, scale)
        sampler, times = sampler or self.sampler, times or self.times
        visited = times(self.denoiser.schedule, self.defaults.steps if steps is None else steps)
        shape, done = self.codec.shape(self.domain.shape), []
        self.denoiser.eval()
        for rows in _batches(len(seeds), self.defaults.batch):
            rng = Rng([seeds[i] for i in rows], device=self.device)
            part = {name: value[rows].to(self.device) for name, value in values.items()}
            x = self.denoiser.project(prior(self.denoiser.schedule, shape, visited[0], rng), part)
            kept = min(len(rows), len(seeds) - rows[0])
            with self._autocast():
                for moment in sampler.walk(denoiser, x, visited, part, rng):
                    if callback:
                        callback(moment._replace(x=moment.x[:kept], x0=moment.x0[:kept]))
                done.append(self.codec.decode(moment.x)[:kept].cpu())
        return torch.cat(done)

    def images(self, n: int | None = None, **options: Any) -> list[Image]:
        """The same as 8-bit pictures to look at; options as those of `sample`.

        Raises:
            ValueError: If the model's data are no pictures.
        """
        to_pil = getattr(self.domain, "to_pil", None)
        if to_pil is None:
            raise ValueError(f"{type(self.domain).__name__} are no pictures; use sample()")
        return to_pil(self.sample(n, **options))

    def guided(self, rules: Sequence[Guidance], scale: float | None = None) -> Denoise:
        """The denoiser under these rules; a scale replaces that of classifier-free guidance, or adds it innermost."""
        from unnoise.guidance import CFG

        if scale is not None:
            given = any(isinstance(rule, CFG) for rule in rules)
            rules = [CFG(scale) if isinstance(rule, CFG) else rule for rule in (rules if given else [CFG(scale), *rules])]
        return Guided(self.denoiser, *rules) if rules else self.denoiser

    def draw(self, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Conditions as the training data have them, each row a function of its seed."""
        drawn = self.domain.draw(Rng(seeds))
        return {name: value for name, value in drawn.items() if name in self.denoiser.conds}

    def conditions(self, cond: Mapping[str, Value], n: int) -> dict[str, Tensor]:
        """Conditions as a person writes them, as tensors of n rows.

        Raises:
            ValueError: For a name, class or shape that the model does not know.
        """
        known = self.denoiser.conds
        for name in cond:
            if name not in known:
                raise ValueError(unknown_condition(name, known))
        return {name: _rows(name, known[name], value, n) for name, value in cond.items()}

    def save(self, folder: Path | str, metadata: Mapping[str, str] | None = None) -> None:
        """Writes recipe, facts and weights into a run folder, from which `load` makes the same model."""
        folder = Path(folder)
        self.describe(folder)
        write_weights(folder / FILES[2], self.denoiser.state_dict(), metadata)

    def describe(self, folder: Path) -> None:
        """Writes all but the weights: the resolved recipe and the facts of the data."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILES[0]).write_text(self.recipe.resolved().dump(), "utf-8")
        (folder / FILES[1]).write_text(json.dumps(self.domain.facts(), indent=1), "utf-8")

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()


def load(
    run: Path | str, *, device: torch.device | str = "cpu", overrides: Sequence[str] = (), allow: Collection[str] = ()
) -> Model:
    """The model of a run folder, which needs nothing but itself: moved or copied it still works, without its data.

    Args:
        run: The folder.
        device: Where the model is put.
        overrides: "section.Name.key=value" changes of how it is sampled.
        allow: Names of code from outside the package ("module:Name") that the recipe may run.

    Raises:
        ValueError: If this is not a run, or a file of it is damaged.
    """
    folder = Path(run)
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        what = "has no weights yet" if missing == [FILES[2]] else f"is no run folder (no {missing[0]})"
        raise ValueError(f"{run} {what}; expected the folder that `unnoise train` wrote")
    recipe = Recipe.parse((folder / FILES[0]).read_text("utf-8"), overrides, foreign=allow, name=str(folder / FILES[0]))
    try:
        facts = json.loads((folder / FILES[1]).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / FILES[1]}: not JSON; the file is damaged") from error
    model = Model(recipe, facts)
    weights, _ = read_weights(folder / FILES[2])
    assign(model.denoiser, weights, str(folder / FILES[2]))
    model.digest = hashlib.sha256((folder / FILES[2]).read_bytes()).hexdigest()
    model.denoiser.eval().requires_grad_(False)
    return model.to(device)


def _batches(n: int, size: int) -> Iterator[list[int]]:
    """Rows 0 .. n - 1 in batches of just this size; the last is filled up with its last row."""
    for first in range(0, n, size):
        yield [min(first + i, n - 1) for i in range(size)]


def _rows(name: str, condition: Condition, value: Value, n: int) -> Tensor:
    """One condition's value for n samples: a class by number or name, a number, a vector; None is its null."""
    if value is None:
        return condition.null(n)
    single = isinstance(value, str | int | float) or (not isinstance(value, Tensor) and _depth(value) == len(condition.shape))
    try:
        rows = torch.as_tensor([_one(name, condition, v) for v in ([value] if single else value)])
        rows = rows.to(torch.int64 if condition.classes else torch.float32).expand(n if single else -1, *condition.shape)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name} = {value!r}: expected {condition.shape or 'one value'} a sample") from error
    if len(rows) != n:
        raise ValueError(f"{name}: {len(rows)} values are given for {n} samples; expected one, or one for each")
    return rows


def _one(name: str, condition: Condition, value: Value) -> Value:
    if value is None:
        return condition.null(1)[0].tolist()
    if not condition.classes:
        return value.tolist() if isinstance(value, Tensor) else value
    if isinstance(value, str) and value in condition.classes:
        return condition.classes.index(value)
    number = int(value) if isinstance(value, int | Tensor) or str(value).lstrip("-").isdecimal() else -1
    if not 0 <= number <= len(condition.classes):
        shown = ", ".join(condition.classes[:12]) + (", ..." if len(condition.classes) > 12 else "")
        raise ValueError(f"{name} = {value}: no such class; there are {shown}")
    return number


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list | tuple) and value else 0
