"""Methods by name, and which of them a task takes unless told."""

from __future__ import annotations

import inspect
import tomllib
from difflib import get_close_matches
from typing import Any, NamedTuple

from unnoise import guidance as guidance_room
from unnoise import sampler as sampler_room
from unnoise.guidance import Guidance
from unnoise.operator import Mask, Measurement
from unnoise.sampler import DDIM, Sampler

# Of masks one iteration tells the covariance well enough; pictures in [-1, 1] stand some 0.7 off their mean.
MASKED, TOLD, OTHER = "MMPS:iterations=1", "PiGDM:spread=0.7", "MMPS"


class Method(NamedTuple):
    """A way to sample given a measurement: a sampler, and a rule of guidance where it is one."""

    name: str
    sampler: Sampler
    rule: Guidance | None


def members() -> dict[str, Any]:
    """Every sampler and rule that takes a measurement, by name."""
    rooms = [(name, getattr(room, name)) for room in (sampler_room, guidance_room) for name in room.__all__]
    return {name: m for name, m in rooms if inspect.isclass(m) and "measured" in inspect.signature(m).parameters}


def default(measured: Measurement) -> str:
    """The method for a measurement, where none is asked for."""
    if isinstance(measured.operator, Mask):
        return MASKED
    return TOLD if measured.operator.linear else OTHER


def method(text: str, measured: Measurement) -> Method:
    """A method by name, with its options: "DDRM", or "RePaint:jump=5,resamplings=4".

    Raises:
        ValueError: If there is none of that name, it has no such option, or it refuses the option's value.
    """
    name, _, options = text.partition(":")
    known = {key.lower(): key for key in members()}
    if name.lower() not in known:
        near = get_close_matches(name.lower(), known, 1)
        hint = f"did you mean {known[near[0]]}?" if near else f"there are {', '.join(sorted(known.values()))}"
        raise ValueError(f"--method {name}: no such method; {hint}")
    member = members()[known[name.lower()]]
    chosen = member(measured, **_options(text, options, member))
    if isinstance(chosen, Sampler):
        return Method(text, chosen, None)
    return Method(text, DDIM(eta=1.0), chosen)


def _options(text: str, options: str, member: Any) -> dict[str, Any]:
    plain = {
        p.name: p.default for p in inspect.signature(member).parameters.values() if isinstance(p.default, int | float | bool)
    }
    found: dict[str, Any] = {}
    for pair in filter(None, options.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or key not in plain:
            raise ValueError(f"--method {text}: expected options among {', '.join(plain)} as NAME=VALUE, given {pair!r}")
        try:
            found[key] = type(plain[key])(tomllib.loads(f"v = {value}")["v"])
        except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
            raise ValueError(f"--method {text}: {key} = {value!r} is no number") from error
    return found
