"""A sweep: many ways to sample one run, the front of the best of them, and the one that becomes the run's default.

A setting is on the front if no other that costs as little has a smaller Frechet distance. Of the front the cheapest is chosen
that cannot be told apart from the best, neither by that distance nor by recall, precision or accuracy: the intervals reach each
other. What won among many won by luck too, so the choice is measured again beside the run's present default, from seeds that the
sweep never saw, and stored only if it is not surely worse in any of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unnoise.metric import Estimate
from unnoise.model import Model, load
from unnoise.recipe import Recipe
from unnoise.task import machine
from unnoise.task.evaluate import Wish
from unnoise.task.sweep.grid import Bench, Point, Setting, curves, grid, said, steps, worse

__all__ = ["FILE", "Bench", "Front", "Point", "Setting", "choice", "curves", "front", "grid", "read", "steps", "sweep", "worse"]

FILE = "sweep.json"


@dataclass(frozen=True)
class Front:
    """What a sweep found.

    Args:
        points: Every setting, in the order measured.
        front: Those that no other is better than at no higher cost, the cheapest first.
        chosen: Of the front.
        before, after: The run's default and the chosen setting on fresh seeds.
        stored: Whether the chosen setting became the default.
        real: What real data reach.
        protocol: How all was measured.
    """

    points: list[Point]
    front: list[Point]
    chosen: Point
    before: Point
    after: Point
    stored: bool
    real: dict[str, Estimate]
    protocol: str

    def json(self) -> dict[str, Any]:
        lists = {name: [point.json() for point in getattr(self, name)] for name in ("points", "front")}
        single = {name: getattr(self, name).json() for name in ("chosen", "before", "after")}
        real = {name: value._asdict() for name, value in self.real.items()}
        return {**lists, **single, "stored": self.stored, "real": real, "protocol": self.protocol}


def sweep(
    run: Path,
    budgets: Sequence[int],
    samplers: Sequence[str] = ("",),
    scales: Sequence[float | None] = (None,),
    wish: Wish | None = None,
    say: Callable[[str], object] = print,
) -> Front:
    """Measures every setting, writes `sweep.json` and `sweep.html` into the run, and makes the best its default.

    Args:
        run: The run's folder. Its `recipe.toml` gets the chosen sampler, steps and scale.
        budgets: Evaluations of the network for one sample, without those of guidance.
        samplers: By name; "" is the run's own.
        scales: Of classifier-free guidance; None leaves the run's guidance as it is.
        wish: Samples, seeds, data, features.
        say: Takes a line for each setting.

    Raises:
        ValueError: For a folder that is no run, or settings that cannot be.
    """
    from unnoise.task.trilemma.page import sweep_page

    if not budgets or min(budgets) < 1:
        raise ValueError(f"evaluations {list(budgets)}: expected numbers from 1 on")
    wish = wish or Wish(n=300)
    model = load(run, device=machine.device(wish.device))
    model.precision = machine.precision(wish.precision)
    own = type(model.sampler).__name__
    names = dict.fromkeys("" if name == own else name for name in samplers)
    settings = list(grid(model, budgets, list(names), scales))
    say(f"{len(settings)} settings of {wish.n} samples: {sum(one.steps for one in settings) * wish.n:,} steps of a sample in all")
    bench = Bench(model, wish, say)
    points = []
    for setting in settings:
        points.append(bench.point(setting))
        say(line(points[-1]))
    found = decided(bench, points, Setting("", model.defaults.steps))
    if found.stored:
        store(run, model, found.chosen.setting)
    (run / FILE).write_text(json.dumps(found.json(), indent=1), "utf-8")
    (run / "sweep.html").write_text(sweep_page(run.resolve().name, found), "utf-8")
    return found


def decided(bench: Bench, points: list[Point], present: Setting) -> Front:
    """The front, its choice, and what fresh seeds say of it beside the present default."""
    best = front(points)
    chosen = choice(best)
    fresh = bench.wish.seed + bench.wish.n
    before, after = (bench.point(setting, fresh) for setting in (present, chosen.setting))
    stored = not worse(after.numbers, before.numbers)
    return Front(points, best, chosen, before, after, stored, bench.real, bench.protocol)


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other is better than at no higher cost, the cheapest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.nfe, point.frechet.value)):
        if not best or point.frechet.value < best[-1].frechet.value:
            best.append(point)
    return best


def choice(front: Sequence[Point]) -> Point:
    """The cheapest of a front that is not surely worse than its best."""
    return next(point for point in front if not worse(point.numbers, front[-1].numbers))


def store(run: Path, model: Model, setting: Setting) -> None:
    """Makes a setting the default of a run, whole or not at all."""
    file = run / "recipe.toml"
    recipe = Recipe.parse(file.read_text("utf-8"), name=str(file))
    changed = recipe.override(*setting.changes)
    if setting.sampler and "Fitted" in recipe.members("times"):  # its walks belong to the sampler they were fitted with
        otherwise = recipe.members("times")["Fitted"].get("otherwise", {"Auto": {}})
        changed = Recipe({**changed.sections, "times": otherwise}, changed.foreign)
    changed.check()
    fresh = file.with_suffix(".new")
    fresh.write_text(changed.dump(), "utf-8")
    fresh.replace(file)


def read(run: Path) -> list[Point]:
    """The settings that a sweep of this run measured; none where there was no sweep.

    Raises:
        ValueError: If the file is no sweep's.
    """
    file = run / FILE
    if not file.is_file():
        return []
    try:
        return [Point.read(told) for told in json.loads(file.read_text("utf-8"))["points"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not what `unnoise sweep` wrote ({error})") from error


def line(point: Point) -> str:
    """A point for a person."""
    return said(f"{point.nfe:4d} evaluations, {point.label}", point.numbers)
