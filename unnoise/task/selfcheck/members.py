"""What is checked: every member of every room, each with its options. A new member is covered by being there."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import torch

from unnoise import sampler as sampler_room
from unnoise import schedule as schedule_room
from unnoise import times as times_room
from unnoise.sampler import Sampler
from unnoise.schedule import VP, Flow, LinearBetas, ScaledLinearBetas, Schedule, ZeroSNR
from unnoise.times import Times

DEFAULT: Times = times_room.Uniform()  # the times of a walk unless told otherwise
# What is handed to constructors that cannot do without, by the name of the parameter.
NEEDED: dict[str, Any] = {
    "betas": torch.linspace(1e-4, 0.05, 300, dtype=torch.float64),
    "sigmas": torch.linspace(-5, 5, 200, dtype=torch.float64).exp(),
    "schedule": ScaledLinearBetas(),
    "listed": (999.0, 700.0, 333.0, 20.0, 0.0),
    "times": times_room.Uniform(),
    "walks": {},
}
LIGHT = {"width": 64}  # in the place of defaults that only cost time
# Values of the options that change a method, by name; literals and switches are taken from their types.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "eta": (0.0, 0.5, 1.0), "order": (1, 2, 3, 4), "churn": (0.0, 10.0), "reach": (0.5, 2 / 3), "rho": (3.0,), "offset": (1,),
}  # fmt: skip
FEW = (VP(), LinearBetas(), Flow(), ZeroSNR(ScaledLinearBetas()))  # a formula, a chain, and both without signal at the end


def concrete(room: ModuleType, kind: type) -> Iterator[Any]:
    """The room's public classes of this kind that can be made."""
    for name in room.__all__:
        member = getattr(room, name)
        if inspect.isclass(member) and issubclass(member, kind) and not inspect.isabstract(member):
            yield member


def made(member: Any) -> Any:
    """One object of a class: by its defaults, and by `NEEDED` where there are none."""
    parameters = inspect.signature(member).parameters.values()
    given = {p.name: NEEDED[p.name] for p in parameters if p.default is p.empty}
    return member(**given, **{p.name: LIGHT[p.name] for p in parameters if p.name in LIGHT})


def schedules(quick: bool = False) -> Sequence[Schedule]:
    """One of each schedule; of bare tables an example. For a quick look only a few."""
    return FEW if quick else [made(member) for member in concrete(schedule_room, Schedule) if member.__name__ != "Table"]


def spacings() -> list[Times]:
    """One of each rule for the times, and those with an option changed."""
    return [rule for member in concrete(times_room, Times) for rule in changed(made(member))]


def samplers(options: bool = True) -> list[Sampler]:
    """Every sampler that needs no measurement by its defaults, and with one option changed at a time."""
    free = [member for member in concrete(sampler_room, Sampler) if not {"measured", "picture"} & set(_names(member))]
    return [sampler for member in free for sampler in (changed(member()) if options else [member()])]


def _names(member: Any) -> list[str]:
    return list(inspect.signature(member).parameters)


def changed(default: Any) -> list[Any]:
    """A frozen dataclass as it is, and with each of its options changed alone; what its constructor refuses is left out."""
    found, hints = [default], typing.get_type_hints(type(default).__init__)
    for field in dataclasses.fields(default):
        hint = hints[field.name]
        literal = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        for value in literal or ((False, True) if hint is bool else OPTIONS.get(field.name, ())):
            try:
                other = dataclasses.replace(default, **{field.name: value})
            except ValueError:
                continue
            if other not in found:
                found.append(other)
    return found


def label(member: Any) -> str:
    """A member's name with the options that are not its defaults."""
    if not dataclasses.is_dataclass(member):
        return type(member).__name__
    options = [
        f"{f.name}={_short(value)}"
        for f in dataclasses.fields(member)
        if (value := getattr(member, f.name)) != (f.default if f.default_factory is dataclasses.MISSING else f.default_factory())
    ]
    return type(member).__name__ + (f"({', '.join(options)})" if options else "")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return label(value) if isinstance(value, Schedule | Times) else str(value)
