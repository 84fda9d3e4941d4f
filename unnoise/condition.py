"""Conditions: what a network takes besides x, each with its own null, its own route and its own rate of dropping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from unnoise.tensor import Cond, Rng, expand


@dataclass(frozen=True)
class Condition:
    """What one condition is. A class is an integer, (B,); anything else is of floats, (B, *shape), where NaN means absent.

    Words are floats too, (B, number of words): 1 for each that holds, 0 for each that does not, so that none at all differs
    from nothing known.

    Args:
        route: How it enters the network: "vector", "sequence", "concat", "known" or "level".
        shape: Of one sample.
        classes: Names of the classes; none for a condition of floats.
        drop: The share of training samples that see the null in its place (classifier-free guidance needs some).
        mean, std: Of a number in the training data: networks see (value - mean) / std.
        words: Of which any number may hold together.
    """

    route: str = "vector"
    shape: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    drop: float = 0.1
    mean: float = 0.0
    std: float = 1.0
    words: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What it is, for people."""
        if self.classes or self.words:
            return f"{len(self.classes)} classes" if self.classes else f"{len(self.words)} words"
        return f"{' x '.join(map(str, self.shape))} numbers" if self.shape else "number"

    def null(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        """What the network takes in this condition's absence: the class after the last, or NaN; (batch, *shape)."""
        if self.classes:
            return torch.full((batch, *self.shape), len(self.classes), device=device)
        return torch.full((batch, *self.shape), torch.nan, device=device)


Conditions = Mapping[str, Condition]


def nulls(conditions: Conditions, batch: int, device: torch.device | str | None = None) -> dict[str, Tensor]:
    """Every condition at its null; what is never dropped, as `concat` and `known`, has none to speak of and is left out."""
    kept = {name: c for name, c in conditions.items() if c.drop and c.route not in ("concat", "known")}
    return {name: condition.null(batch, device) for name, condition in kept.items()}


def complete(conditions: Conditions, cond: Cond | None, batch: int, device: torch.device | str) -> dict[str, Tensor]:
    """All that a network takes: what is given, and the null of what is not.

    Raises:
        ValueError: For a name that the network does not take.
    """
    cond = cond or {}
    if unknown := [name for name in cond if name not in conditions]:
        raise ValueError(unknown_condition(unknown[0], conditions))
    return {
        name: cond[name].to(device) if name in cond else condition.null(batch, device) for name, condition in conditions.items()
    }


def drop(conditions: Conditions, cond: Cond, rng: Rng) -> dict[str, Tensor]:
    """Each sample's condition at its null with that condition's own probability, keyed by `rng`."""
    dropped = dict(cond)
    for name, condition in conditions.items():
        if name not in cond or not condition.drop or condition.route in ("concat", "known"):
            continue
        value = cond[name]
        gone = (rng.uniform((), f"drop {name}") < condition.drop).to(value.device)
        dropped[name] = torch.where(expand(gone, value), condition.null(len(value), value.device).to(value.dtype), value)
    return dropped


def unknown_condition(name: str, conditions: Conditions) -> str:
    """The one line for a condition that is not there."""
    near = get_close_matches(name, list(conditions), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(map(repr, conditions)) or 'none'}"
    return f"the model takes no condition {name!r}; {hint}"


def named(cond: Mapping[str, Any], conditions: Conditions) -> dict[str, Any]:
    """Conditions of which some are told by a class alone, {"flag": True}: each under the condition that has that class.

    Raises:
        ValueError: For a word that is no class, or one of several conditions, or tells what is told already.
    """
    found = {
        name: value for name, value in cond.items() if value is not True or (name in conditions and not conditions[name].classes)
    }
    for word in [name for name in cond if name not in found]:
        if word in conditions:
            raise ValueError(f"{word}: expected NAME=VALUE with one of its classes; {_nearest(word, conditions[word].classes)}")
        owners = [name for name, condition in conditions.items() if word in (*condition.classes, *condition.words)]
        if not owners:
            classes = [one for condition in conditions.values() for one in (*condition.classes, *condition.words)]
            raise ValueError(f"no class {word!r}; {_nearest(word, classes)}")
        if len(owners) > 1 or owners[0] in found:
            raise ValueError(f"{word!r} is a class of {' and of '.join(owners)}: say NAME={word}, each name once")
        found[owners[0]] = word
    return found


def _nearest(word: str, names: Sequence[str]) -> str:
    """Which names a word may have meant, or else some that there are."""
    near = get_close_matches(word, names, 3)
    some = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {some or 'none'}"


def rows(name: str, condition: Condition, value: Any, n: int) -> Tensor:
    """One condition's value as a person writes it, (n, *shape): a class by number or name, a number, a vector, words ("red+round"
    or a set of them; "" for none of them); None is its null.

    Args:
        name: Of the condition, for messages.
        condition: What it is.
        value: One for all samples, or a sequence of n.
        n: How many samples.

    Raises:
        ValueError: For a class that there is not, or a value of another shape.
    """
    if value is None:
        return condition.null(n)
    if isinstance(value, Tensor) and not condition.classes and value.shape == (n, *condition.shape):
        return value.to(torch.float32)
    single = isinstance(value, str | int | float | set | frozenset) or (
        not isinstance(value, Tensor)
        and _depth(value) == len(condition.shape)
        and not (condition.words and any(one is None or isinstance(one, str | set | frozenset) for one in value))
    )
    try:
        found = torch.as_tensor([_one(name, condition, v) for v in ([value] if single else value)])
        found = found.to(torch.int64 if condition.classes else torch.float32).expand(n if single else -1, *condition.shape)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name} = {value!r}: expected {condition.shape or 'one value'} a sample") from error
    if len(found) != n:
        raise ValueError(f"{name}: {len(found)} values are given for {n} samples; expected one, or one for each")
    return found


def _one(name: str, condition: Condition, value: Any) -> Any:
    if value is None:
        return condition.null(1)[0].tolist()
    if condition.words and isinstance(value, str | set | frozenset):
        held = _words(condition.words, value) if isinstance(value, str) else value
        if unknown := sorted(str(word) for word in held if word not in condition.words):
            raise ValueError(f"{name} = {unknown[0]}: no such word; {_nearest(unknown[0], condition.words)}")
        return [float(word in held) for word in condition.words]
    if not condition.classes:
        return value.tolist() if isinstance(value, Tensor) else value
    if isinstance(value, str) and value in condition.classes:
        return condition.classes.index(value)
    number = int(value) if isinstance(value, int | Tensor) or str(value).lstrip("-").isdecimal() else -1
    if not 0 <= number <= len(condition.classes):
        raise ValueError(f"{name} = {value}: no such class; {_nearest(str(value), condition.classes)}")
    return number


def _words(words: Sequence[str], text: str) -> list[str]:
    """The words of "red+round"; a word may hold a plus itself."""
    found: list[str] = []
    while text:
        fitting = [word for word in words if text == word or text.startswith(f"{word}+")]
        found.append(max(fitting, key=len) if fitting else text.partition("+")[0])
        text = text[len(found[-1]) + 1 :]
    return found


def held(condition: Condition, value: Tensor) -> list[str]:
    """The words that hold of a row, (number of words,)."""
    return [word for word, one in zip(condition.words, value.tolist(), strict=True) if one > 0.5]


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list | tuple) and value else 0
