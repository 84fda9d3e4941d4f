"""Cascades: a model of small pictures, and others that enlarge what it made, sampled in one call."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.condition import Condition, Conditions
from unnoise.model import Model
from unnoise.operator import Law, Noise
from unnoise.operator.law import NOISE
from unnoise.operator.shown import noisy
from unnoise.task.sample import KEY, Order, describe, grid, plain, prepared
from unnoise.tensor import Rng

FILE = "cascade.toml"


@dataclass(frozen=True)
class Cascade:
    """Runs, each of which is shown what the one before it made; the first is shown nothing.

    Args:
        runs: Their folders.
        noise: The standard deviation of what is added to that, where a run was trained with [operator.Noise], and told to it:
            it covers the faults of the samples, and what it covers is made up anew.
    """

    runs: tuple[Path, ...]
    noise: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Cascade:
        """A file of `runs = ["base", "larger"]`, relative to it and inside its folder, and `noise`; or the folder that has it.

        Raises:
            ValueError: For a file that says anything else.
        """
        path = path / FILE if path.is_dir() else path
        try:
            said = tomllib.loads(path.read_text("utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"{path}: not a cascade: {error}") from error
        runs, noise = said.pop("runs", []), said.pop("noise", 0.0)
        listed = isinstance(runs, list) and len(runs) > 1 and all(isinstance(run, str) for run in runs)
        if said or not listed or not isinstance(noise, int | float) or noise < 0:
            raise ValueError(f'{path}: expected runs = ["BASE", "LARGER"] and noise = a number of at least 0, and nothing else')
        found = tuple(path.parent / run for run in runs)
        for run in found:
            if not run.resolve().is_relative_to(path.parent.resolve()):
                raise ValueError(f"{path}: {run} lies outside of its folder and is not read; put the file beside the runs")
        return cls(found, float(noise))


def is_cascade(path: Path) -> bool:
    """Whether this is no run but a cascade of some."""
    return path.suffix == ".toml" or (path / FILE).is_file()


def sample(path: Path, order: Order, out: Path, progress: Callable[[int, int], object] | None = None) -> list[Path]:
    """Writes `<seed>.png` for each seed and `grid.png` into `out`, and says which; see `task.sample.sample`.

    Conditions go to every run that takes them; overrides are for all.

    Raises:
        ValueError: For runs that do not follow each other, or a condition that none takes.
    """
    cascade, seeds = Cascade.read(path), list(order.seeds)
    stages = [prepared(run, order) for run in cascade.runs]
    models, threads = [model for model, _ in stages], stages[0][1]
    known = _known(models)
    values = _values(models, known, order.cond, seeds)
    x = models[0].sample(seeds=seeds, cond=_taken(models[0], values))
    for k, model in enumerate(models[1:], 1):
        if progress:
            progress(k, len(models))
        x = model.sample(seeds=seeds, cond={**_taken(model, values), **_shown(model, x, cascade.noise, seeds, k)})
    about = [describe(model, 0, {}, threads) for model in models]
    cond = [{name: plain(known[name], value[i]) for name, value in values.items()} for i in range(len(seeds))]
    recipes: list[dict[str, Any]] = [
        {**about[-1], "seed": seed, "cond": told, "cascade": {"noise": cascade.noise, "runs": about[:-1]}}
        for seed, told in zip(seeds, cond, strict=True)
    ]
    texts = [{KEY: json.dumps(recipe)} for recipe in recipes]
    paths = models[-1].domain.save(x, out, [str(seed) for seed in seeds], texts)
    return [*paths, grid(models[-1], x, seeds, recipes, out / "grid.png")]


def _known(models: Sequence[Model]) -> dict[str, Condition]:
    """The conditions that a person may give, each the same for all runs that take it."""
    known: dict[str, Condition] = {}
    for model in models:
        for name, one in model.conds.items():
            if model.shown and name in model.shown.conds:
                continue
            before = known.setdefault(name, one)
            if (before.classes, before.words) != (one.classes, one.words):
                raise ValueError(f"condition {name!r}: the runs have other classes; expected the same in all of them")
    return known


def _values(
    models: Sequence[Model], known: Conditions, cond: Mapping[str, Any] | None, seeds: Sequence[int]
) -> dict[str, Tensor]:
    if cond is not None:
        return models[0].conditions(cond, len(seeds), known)
    drawn: dict[str, Tensor] = {}
    for model in models:
        drawn = {**model.domain.draw(Rng(list(seeds))), **drawn}
    return {name: value for name, value in drawn.items() if name in known}


def _taken(model: Model, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if name in model.conds}


def _shown(model: Model, x: Tensor, noise: float, seeds: Sequence[int], k: int) -> dict[str, Tensor]:
    """What the k-th run is shown of the samples before it."""
    shown = model.shown
    laws = [member for member in shown.members if isinstance(member, Law)] if shown else []
    noises = any(isinstance(law, Noise) for law in laws)
    if shown is None or len(laws) > noises:
        raise ValueError(f"run {k + 1} of the cascade enlarges nothing; expected one trained with [operator.Downsample]")
    if noise and not noises:
        raise ValueError(f"noise = {noise:g}: run {k + 1} of the cascade was trained without [operator.Noise]; expected 0")
    told = {NOISE: torch.full((len(x),), noise)} if noises else {}
    wanted = shown.operator(told)(torch.zeros(1, *shown.shape)).shape[1:]
    if x.shape[1:] != wanted:
        raise ValueError(f"run {k + 1} of the cascade is shown {tuple(wanted)}, and the one before makes {tuple(x.shape[1:])}")
    return shown.given(noisy(x.clamp(-1, 1), told, Rng(list(seeds)).at(k)), told)
