"""Samples by the million: tar shards as WebDataset names them, made by any number of processes, and resumed after any end.

A shard is a function of its seeds: NAME-000000.tar holds those of the first thousand, and so on. Processes take shards in turn
and say nothing to each other; one that is whole has its name, one that is not has none.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unnoise.condition import held
from unnoise.domain.pictures import Pictures
from unnoise.domain.save import COLOURS
from unnoise.model import Model
from unnoise.task import ranks
from unnoise.task.sample import KEY, Order, describe, descriptions, prepared
from unnoise.train import disk

INDEX = "shards.json"
SIZE = 1000  # samples in a shard
BLOCK = 512  # of a tar
DIGITS = 10  # of a key, so that names sort as seeds do


class Made(NamedTuple):
    """What this process did: shards that it made, and that were there."""

    made: int
    there: int


def shards(run: Path, order: Order, folder: Path, size: int = SIZE, progress: Callable[[int, int], object] | None = None) -> Made:
    """Fills a folder with shards of samples; over several ranks each makes every n-th. Call it again to go on.

    For each sample SEED.png (or .npy, where PNG cannot hold it) with its recipe inside, SEED.json with its conditions and its
    recipe under "unnoise", and SEED.cls, the number of its class, where the model takes one class.

    Args:
        order: Its seeds follow each other.
        size: Samples in a shard.
        progress: Told the samples done and those that this rank has to do.

    Raises:
        ValueError: For a folder with shards of another order, or an order that the run cannot follow.
    """
    first, n = order.seeds[0], len(order.seeds)
    if size < 1 or order.seeds[-1] != first + n - 1:
        raise ValueError(f"shards of {size} samples, seeds {first} to {order.seeds[-1]}: expected 1 or more, and seeds in a row")
    model, threads = prepared(run, order)
    alike = describe(model, 0, {}, threads)
    disk.make(folder)
    _index(
        folder, {"first": first, "n": n, "size": size, "cond": dict(order.cond or {}), "drawn": order.cond is None, KEY: alike}
    )
    names = {i: folder / f"samples-{i:06d}.tar" for i in range(-(-n // size))}
    mine = {i: names[i] for i in range(ranks.rank(), len(names), ranks.world())}
    missing = {i: path for i, path in mine.items() if not path.exists()}
    seeds = {i: range(first + i * size, min(first + (i + 1) * size, first + n)) for i in missing}
    done, of_all = 0, sum(map(len, seeds.values()))

    def told(more: int) -> None:
        nonlocal done
        done += more
        if progress:
            progress(done, of_all)

    for i, path in missing.items():
        for stray in folder.glob(f"{path.name}{disk.SCRATCH}*"):  # of a process that was killed
            stray.unlink(missing_ok=True)
        disk.replace(path, _tar(_samples(model, order, seeds[i], alike, told)))
    return Made(len(missing), len(mine) - len(missing))


def _index(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Says once what the shards of a folder are; ValueError where they are of something else."""
    path, text = folder / INDEX, json.dumps(wanted, indent=1)
    if not path.exists():
        disk.replace(path, [text.encode()])
    found, wanted = json.loads(path.read_text("utf-8")), json.loads(text)
    told = {**{k: v for k, v in found.items() if k != KEY}, **found.get(KEY, {})}
    asked = {**{k: v for k, v in wanted.items() if k != KEY}, **wanted[KEY]}
    if unlike := [key for key in asked if told.get(key) != asked[key]]:
        was, now = told.get(unlike[0]), asked[unlike[0]]
        raise ValueError(
            f"{folder} has shards of another order: its {unlike[0]} is {was!r}, given {now!r}; give the same, or another folder"
        )


def _samples(
    model: Model, order: Order, seeds: Sequence[int], alike: Mapping[str, Any], told: Callable[[int], None]
) -> Iterator[tuple[str, bytes]]:
    """The files of a shard, a batch at a time."""
    for start in range(0, len(seeds), model.defaults.batch):
        some = seeds[start : start + model.defaults.batch]
        cond = model.draw(some) if order.cond is None else model.conditions(order.cond, len(some))
        x = model.sample(seeds=some, cond=cond)
        recipes = descriptions(model, some, cond, alike)
        for i, (seed, recipe, (suffix, content)) in enumerate(zip(some, recipes, _files(model, x, recipes), strict=True)):
            values = {name: _value(model, name, value[i]) for name, value in cond.items() if name in recipe["cond"]}
            key = f"{seed:0{DIGITS}d}"
            classes = [name for name in values if model.conds[name].classes]
            if len(classes) == 1 and values[classes[0]] is not None:
                yield f"{key}.cls", str(values[classes[0]]).encode()
            yield f"{key}.json", json.dumps({**values, KEY: recipe}).encode()
            yield f"{key}.{suffix}", content
        told(len(some))


def _files(model: Model, x: Tensor, recipes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Each sample as a file: PNG where that holds it, .npy else."""
    facts = model.domain.facts()
    if isinstance(model.domain, Pictures) and facts["channels"] in COLOURS and facts["depth"] in ("uint8", "uint16"):
        for content in model.domain.files(x, [{KEY: json.dumps(recipe)} for recipe in recipes]):
            yield "png", content
        return
    for row in x:
        file = io.BytesIO()
        np.save(file, row.float().numpy(), allow_pickle=False)
        yield "npy", file.getvalue()


def _value(model: Model, name: str, value: Tensor) -> Any:
    """A condition's value as data have it: the number of a class, numbers; None for its null."""
    condition = model.conds[name]
    if condition.classes:
        return int(value) if int(value) < len(condition.classes) else None
    if torch.isnan(value).all():
        return None
    return held(condition, value) if condition.words else value.tolist()


def _tar(files: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    """A tar of them, without dates or owners: equal files give equal bytes.

    Reference: POSIX.1-1988, ustar interchange format.
    """
    for name, content in files:
        about = tarfile.TarInfo(name)
        about.size = len(content)
        yield about.tobuf(tarfile.USTAR_FORMAT)
        yield content + bytes(-len(content) % BLOCK)
    yield bytes(2 * BLOCK)
