"""A model sampled in many ways: what each costs, and how good it is, from the same seeds beside the same data."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unnoise.metric import Estimate
from unnoise.model import Model
from unnoise.sampler import Sampler
from unnoise.task.evaluate import Wish, measure
from unnoise.task.evaluate.board import Board
from unnoise.task.evaluate.real import real, split
from unnoise.task.evaluate.sources import Made, opened
from unnoise.times import One

Numbers = dict[str, Estimate]
NUMBERS = ("frechet", "recall", "precision", "accuracy")  # of a setting; those that the data have


@dataclass(frozen=True)
class Setting:
    """A way to sample.

    Args:
        sampler: By name; "" is the model's own, with its times.
        steps: Times in the walk.
        scale: Of classifier-free guidance; None is the model's own guidance.
    """

    sampler: str
    steps: int
    scale: float | None = None

    @property
    def changes(self) -> list[str]:
        """As a recipe is told of it, "section.Name.key=value"."""
        changes = [f"sampler={self.sampler}"] if self.sampler else []
        scaled = [] if self.scale is None else [f"guidance.CFG.scale={self.scale:g}"]
        return [*changes, f"model.Defaults.steps={self.steps}", *scaled]

    def of(self, model: Model) -> Model:
        """The same model, sampled so."""
        view = copy.copy(model)
        view.recipe = model.recipe.override(*self.changes)
        view.sampler = view.recipe.build("sampler") if self.sampler else model.sampler
        view.times = model.times.unfitted if self.sampler else model.times
        view.guidance = view.recipe.build_all("guidance") if self.scale is not None else model.guidance
        view.defaults = dataclasses.replace(model.defaults, steps=self.steps)
        return view


@dataclass(frozen=True)
class Point:
    """What a setting costs and gives.

    Args:
        setting: It.
        label: The sampler, and the scale where there is one, to be read.
        nfe: Evaluations of the network for one sample.
        seconds: For one sample.
        numbers: Frechet distance, recall ... with their intervals.
    """

    setting: Setting
    label: str
    nfe: int
    seconds: float
    numbers: Numbers

    @property
    def frechet(self) -> Estimate:
        return self.numbers["frechet"]

    def json(self) -> dict[str, Any]:
        cost = {"label": self.label, "nfe": self.nfe, "seconds": self.seconds}
        return {**dataclasses.asdict(self.setting), **cost, **plain(self.numbers)}

    @classmethod
    def read(cls, told: dict[str, Any]) -> Point:
        """What `json` told."""
        setting = Setting(told["sampler"], told["steps"], told["scale"])
        return cls(setting, told["label"], told["nfe"], told["seconds"], numbers(told))


class Bench:
    """What settings of a model are measured on: data and features, prepared once.

    Args:
        model: In one of its ways.
        wish: How many samples, of which seeds, beside which data, by which features.
        say: Takes the lines meant for a person.
    """

    def __init__(self, model: Model, wish: Wish, say: Callable[[str], object] = lambda line: None) -> None:
        self.wish, self.model = dataclasses.replace(wish, metrics=NUMBERS), model
        data = model.domain if wish.data is None else opened(wish.data, model.domain)
        known = real(data)  # type: ignore[arg-type]
        parts = split(data, known, wish.n)
        self.yard = measure.yardstick(data, known, parts, wish.n, self.wish, say)
        self.label = next((name for name, c in model.denoiser.conds.items() if c.classes and not c.shape), None)
        others = Board(self.yard, parts.labels)
        for x in parts.x.split(512):
            others.update(x)
        found = others.estimate()
        self.real = {name: found[name] for name in NUMBERS if name in found}
        by = self.yard.features
        self.protocol = f"{by.name} {by.digest}".strip() + f", n {wish.n}, seeds {wish.seed} .. {wish.seed + wish.n - 1}"

    def point(self, setting: Setting, seed: int | None = None, n: int | None = None) -> Point:
        """What a setting costs and gives; the wish's seeds and number of samples unless told otherwise."""
        view = setting.of(self.model)
        source = Made(view, n or self.wish.n, self.label, self.wish.seed if seed is None else seed, self.wish.cond)
        board = Board(self.yard, source.asked)
        for x in source.blocks():
            board.update(x)
        found = board.estimate()
        numbers = {name: found[name] for name in NUMBERS if name in found}
        return Point(setting, label(self.model, setting), source.nfe, sum(source.seconds) / len(source.seconds), numbers)


def grid(model: Model, budgets: Sequence[int], samplers: Sequence[str], scales: Sequence[float | None]) -> Iterator[Setting]:
    """Every sampler and scale with as many steps as each budget of evaluations allows, guidance not counted; no setting twice.

    Raises:
        ValueError: For a sampler that is unknown, or takes as many evaluations as it likes.
    """
    seen: set[Setting] = set()
    for name in samplers:
        sampler = Setting(name, 1).of(model).sampler
        for scale in scales:
            for budget in sorted(budgets):
                setting = Setting(name, steps(sampler, budget), scale)
                if setting.steps and setting not in seen:
                    seen.add(setting)
                    yield setting


def curves(
    model: Model, wish: Wish, budgets: Sequence[int], samplers: Sequence[str], say: Callable[[str], object] = lambda line: None
) -> list[Point]:
    """Several samplers at several budgets; one point of a model that answers once."""
    once = isinstance(model.times, One)
    names = [""] if once else [name for name in samplers if name != type(model.sampler).__name__]
    bench, found = Bench(model, wish, say), []
    for setting in grid(model, [1] if once else budgets, names, [None]):
        found.append(bench.point(setting))
        say(f"  {found[-1].nfe} evaluations, {found[-1].label}: Frechet distance {found[-1].frechet.value:.3g}")
    return found


def steps(sampler: Sampler, budget: int) -> int:
    """The most times in a walk of at most so many evaluations; 0 if there is none.

    Raises:
        ValueError: For a sampler whose walk alone can tell.
    """
    for n in range(budget, 0, -1):
        cost = sampler.evaluations(n)
        if cost is None:
            raise ValueError(f"{sampler!r} takes as many evaluations as it likes: no budget can be kept")
        if cost <= budget:
            return n
    return 0


def label(model: Model, setting: Setting) -> str:
    """The sampler's name and the scale, if that was set."""
    name = setting.sampler or type(model.sampler).__name__
    return name + (f", scale {setting.scale:g}" if setting.scale is not None else "")


def worse(one: Numbers, other: Numbers) -> bool:
    """Whether one is surely worse in any number: beyond both intervals."""
    shares = [name for name in one if name != "frechet" and name in other]
    return one["frechet"].low > other["frechet"].high or any(one[n].high < other[n].low for n in shares)


def said(what: str, numbers: Numbers) -> str:
    """Numbers for a person."""
    return f"{what}: " + ", ".join(f"{name} {n.value:.3g} [{n.low:.3g} .. {n.high:.3g}]" for name, n in numbers.items())


def plain(numbers: Numbers) -> dict[str, Any]:
    """Numbers as JSON holds them."""
    return {name: number._asdict() for name, number in numbers.items()}


def numbers(told: Mapping[str, Any]) -> Numbers:
    """What `plain` told, among other things."""
    return {name: Estimate(**told[name]) for name in NUMBERS if name in told}
