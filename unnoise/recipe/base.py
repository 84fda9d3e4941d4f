"""A recipe: every part of a system by name, checked as a whole and then built."""

from __future__ import annotations

import functools
import importlib
import inspect
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .signature import blamed, checker, holds_nan, is_object, parameters, sentence
from .text import RecipeError, Table, change, find, hint, tables_of

SECTIONS = (
    "domain",
    "codec",
    "operator",
    "augment",
    "schedule",
    "prediction",
    "level",
    "denoiser",
    "network",
    "loss",
    "sampler",
    "times",
    "guidance",
    "train",
    "model",
)
DEFAULTS = {"codec": "Identity", "level": "index", "loss": "Denoising", "sampler": "FlowAdams", "times": "Auto"}
REQUIRED = ("domain", "schedule", "prediction", "network")
SEVERAL = ("operator", "guidance")  # the first is the innermost


@dataclass(frozen=True)
class Recipe:
    """A recipe as it was read: section -> name -> keys.

    Args:
        sections: For each section its members in file order, each with its keys.
        foreign: Names from outside the package ("module:Name") that may be imported; None allows all.
    """

    sections: Mapping[str, Mapping[str, Table]]
    foreign: Collection[str] | None = None

    @classmethod
    def read(cls, source: str | Path, overrides: Sequence[str] = (), foreign: Collection[str] | None = None) -> Recipe:
        """From a file, or by the name of one that comes with the package.

        Args:
            source: A path, or a name as `unnoise recipes` lists them.
            overrides: "section.Name.key=value" or "section=Name", the value in TOML's notation (bare text is text).
            foreign: See the class.

        Raises:
            RecipeError: If there is no such recipe or it is not right.
        """
        return cls.parse(find(source), overrides, foreign, str(source))

    @classmethod
    def parse(
        cls, text: str, overrides: Sequence[str] = (), foreign: Collection[str] | None = None, name: str = "recipe"
    ) -> Recipe:
        """From the text of a TOML file; arguments as those of `read`."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{name}: not a TOML file: {error}") from error
        for asked in overrides:
            change(tables, asked)
        recipe = cls({section: tables_of(section, table) for section, table in tables.items()}, foreign)
        recipe.check()
        return recipe

    def check(self) -> None:
        """Every name and key at once, nothing built.

        Raises:
            RecipeError: With one clause for each thing that is wrong.
        """
        wrong = [f"no section [{section}]{hint(section, SECTIONS)}" for section in self.sections if section not in SECTIONS]
        required = [section for section in REQUIRED if not (section == "prediction" and self.classifies)]
        wrong += [f"the section [{section}] is missing" for section in required if section not in self.sections]
        if self.classifies != ("CrossEntropy" in self.members("loss")):
            wrong.append("[loss]: a classifier is trained on CrossEntropy, and nothing else is")
        for section in SECTIONS:
            members = self.members(section)
            if len(members) > 1 and section not in SEVERAL:
                wrong.append(f"[{section}]: one member is expected, given {', '.join(members)}")
            for name, keys in members.items():
                wrong += self._faults(section, name, keys)
        if wrong:
            raise RecipeError("; ".join(wrong))

    def members(self, section: str) -> Mapping[str, Table]:
        """The section's names with their keys; its default where the recipe is silent."""
        if section in self.sections:
            return self.sections[section]
        return {DEFAULTS[section]: {}} if section in DEFAULTS else {}

    @property
    def classifies(self) -> bool:
        """Whether it describes a classifier of noised data, which predicts no x."""
        return "Classifier" in self.members("network")

    def build(self, section: str, **given: Any) -> Any:
        """The section's object; `given` are handed over where its signature asks for them and the recipe is silent.

        Raises:
            RecipeError: If the constructor refuses its arguments.
        """
        (name, keys), *_ = self.members(section).items()
        return self._construct(section, name, keys, given)

    def build_all(self, section: str) -> list[Any]:
        """Every object of a section that may have several, in file order."""
        return [self._construct(section, name, keys, {}) for name, keys in self.members(section).items()]

    def resolved(self) -> Recipe:
        """The same recipe with every default written out."""
        full = {}
        for section in SECTIONS:
            if members := self.members(section):
                full[section] = {name: self._full(section, name, keys) for name, keys in members.items()}
        return Recipe(full, self.foreign)

    def dump(self) -> str:
        """As the text of a TOML file."""
        import tomli_w

        return tomli_w.dumps({section: dict(members) for section, members in self.sections.items()})

    def flat(self) -> dict[str, Any]:
        """{"section.Name.key": value}: what two recipes are compared by."""
        flat: dict[str, Any] = {}
        for section, members in self.sections.items():
            for name, keys in members.items():
                flat |= {f"{section}.{name}.{key}": value for key, value in keys.items()} or {f"{section}.{name}": True}
        return flat

    def override(self, *overrides: str) -> Recipe:
        """A copy with "section.Name.key=value" changes."""
        return Recipe.parse(self.dump(), overrides, self.foreign)

    def _full(self, section: str, name: str, keys: Table) -> Table:
        member = self._member(section, name)
        known = parameters(member).values()
        defaults = {p.name: p.default for p in known if isinstance(p.default, str | int | float | bool | tuple | list)}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in (defaults | keys).items()}

    def _member(self, section: str, name: str) -> Callable[..., Any]:
        if ":" in name:
            if self.foreign is not None and name not in self.foreign:
                raise RecipeError(f"[{section}]: {name!r} is code from outside the package; allow it by name to run it")
            place, _, attribute = name.partition(":")
            try:
                return getattr(importlib.import_module(place), attribute)
            except (ImportError, AttributeError) as error:
                raise RecipeError(f"[{section}]: cannot import {name!r}: {error}") from error
        module = importlib.import_module(f"unnoise.{section}")
        names = [n for n in module.__all__ if callable(getattr(module, n)) and not inspect.isabstract(getattr(module, n))]
        if name not in names:
            raise RecipeError(f"[{section}]: no {name!r}{hint(name, names)}")
        return getattr(module, name)

    def _faults(self, section: str, name: str, keys: Table) -> list[str]:
        from pydantic import ValidationError

        try:
            member = self._member(section, name)
            checker(member)(**{key: self._value(section, member, key, value, build=False) for key, value in keys.items()})
        except RecipeError as error:
            return [str(error)]
        except ValidationError as error:
            return [sentence(f"[{section}.{name}]", fault, parameters(member)) for fault in error.errors()]
        return []

    def _construct(self, section: str, name: str, keys: Table, given: Mapping[str, Any]) -> Any:
        member = self._member(section, name)
        known = parameters(member)
        arguments = {key: self._value(section, member, key, value) for key, value in keys.items()}
        checked = checker(member)(**arguments)
        arguments = {key: getattr(checked, key) for key in arguments}
        asked = {key: value for key, value in given.items() if key in known and key not in arguments}
        if not inspect.isclass(member):
            return functools.partial(member, **arguments) if arguments else member
        for lacking in known.values():
            if lacking.default is inspect.Parameter.empty and lacking.name not in asked | arguments:
                where = "only Python or another command can give it" if is_object(lacking.annotation) else "add it here"
                raise RecipeError(f"[{section}.{name}]: {lacking.name!r} must be given; {where}")
        try:
            return member(**asked, **arguments)
        except Exception as error:  # of a number that nobody thought of, whatever it leads to
            raise RecipeError(f"[{section}.{name}]: {blamed(member, asked, arguments, error)}") from error

    def _value(self, section: str, member: Callable[..., Any], key: str, value: Any, build: bool = True) -> Any:
        """A key's value; where the parameter is an object and the value names one, that object."""
        parameter, place = parameters(member).get(key), f"[{section}.{getattr(member, '__name__', '')}]: {key}"
        if holds_nan(value):
            raise RecipeError(f"{place} = {value}: expected a number")
        if parameter is None or not is_object(parameter.annotation):
            return value
        if isinstance(value, int | float | list) or value == {}:
            raise RecipeError(f"{place} = {value!r}: expected a name, or a table of one with its keys")
        if not isinstance(value, str | dict):
            return value
        name, keys = (value, {}) if isinstance(value, str) else next(iter(value.items()))
        if not isinstance(keys, dict):
            raise RecipeError(f"{place} = {value!r}: expected a name, or a table of one with its keys")
        if not build:
            if faults := self._faults(section, name, keys):
                raise RecipeError("; ".join(f"{place} = {name!r}: {fault}" for fault in faults))
            return value
        return self._construct(section, name, keys, {})
