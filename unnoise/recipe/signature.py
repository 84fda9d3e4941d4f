"""What a constructor can be given by a recipe, and what is wrong with what it was given."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .text import Table, hint

PLAIN = (str, int, float, bool, type(None), Path, list, tuple, dict, Sequence, Mapping)


def is_object(hint: Any) -> bool:
    """Whether a parameter of this type takes an object of ours rather than text, numbers or lists of them."""
    if hint is Any:
        return False
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return False
    if origin in (typing.Union, types.UnionType):
        return all(is_object(part) for part in typing.get_args(hint) if part is not type(None))
    return (origin or hint) not in PLAIN and (origin or hint) not in (typing.Sequence, typing.Mapping)


@functools.cache
def parameters(member: Any) -> Mapping[str, inspect.Parameter]:
    """The constructor's parameters that a recipe can set, their annotations resolved."""
    hints = typing.get_type_hints(member.__init__ if inspect.isclass(member) else member)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = [p for p in inspect.signature(member).parameters.values() if p.kind in kinds]
    if not inspect.isclass(member):
        found = [p for p in found if p.default is not inspect.Parameter.empty]
    return {p.name: p.replace(annotation=hints.get(p.name, Any)) for p in found}


@functools.cache
def checker(member: Any) -> Any:
    """A pydantic model of a constructor: unknown keys are refused, numbers and texts are checked, objects pass."""
    from pydantic import ConfigDict, create_model

    fields: Any = {p.name: (Any if is_object(p.annotation) else p.annotation, None) for p in parameters(member).values()}
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(getattr(member, "__name__", "member"), __config__=config, **fields)


def holds_nan(value: Any) -> bool:
    """Whether a value, or one in it, is no number."""
    return any(map(holds_nan, value)) if isinstance(value, list) else isinstance(value, float) and value != value


def sentence(place: str, fault: Any, known: Mapping[str, Any]) -> str:
    """A fault as pydantic tells it, as a clause for people."""
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{place}: no option {key!r}{hint(key, known)}"
    return f"{place}: {key} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def blamed(member: Callable[..., Any], given: Mapping[str, Any], arguments: Table, error: Exception) -> str:
    """What a constructor said, with the key that it is about: the one without which it would have been content."""
    said = (str(error).splitlines() or [type(error).__name__])[0]
    for key, value in arguments.items():
        if key in said:
            return said
        try:
            member(**given, **{other: argument for other, argument in arguments.items() if other != key})
        except Exception:
            continue
        return f"{key} = {value!r}: {said}"
    return said
