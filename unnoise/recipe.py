"""Configuration is construction: `[section.Name]` of a TOML file is `unnoise.section.Name(**keys)`.

A top-level string, `prediction = "v"`, names a member without keys. A key whose type is neither text nor number may be a
string or a table too: it names a member of its own section (`[loss.Denoising]` with `weight = "snr"` or
`weight.MinSNR.gamma = 5`). Keys are checked against the constructor's signature, all of them before anything is built.
From outside the package a name is "module:Name"; a run that came from somebody else may not bring such names unasked.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

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
Table = dict[str, Any]


class RecipeError(ValueError):
    """A recipe that cannot be followed, with all that is wrong with it."""


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
        return cls.parse(_text(source), overrides, foreign, str(source))

    @classmethod
    def parse(
        cls, text: str, overrides: Sequence[str] = (), foreign: Collection[str] | None = None, name: str = "recipe"
    ) -> Recipe:
        """From the text of a TOML file; arguments as those of `read`."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{name}: not a TOML file: {error}") from error
        for override in overrides:
            _override(tables, override)
        recipe = cls({section: _members(section, table) for section, table in tables.items()}, foreign)
        recipe.check()
        return recipe

    def check(self) -> None:
        """Every name and key at once, nothing built.

        Raises:
            RecipeError: With one clause for each thing that is wrong.
        """
        wrong = [f"no section [{section}]{_hint(section, SECTIONS)}" for section in self.sections if section not in SECTIONS]
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
            raise RecipeError(f"[{section}]: no {name!r}{_hint(name, names)}")
        return getattr(module, name)

    def _faults(self, section: str, name: str, keys: Table) -> list[str]:
        from pydantic import ValidationError

        try:
            member = self._member(section, name)
            _model(member)(**{key: self._value(section, member, key, value, build=False) for key, value in keys.items()})
        except RecipeError as error:
            return [str(error)]
        except ValidationError as error:
            return [_sentence(f"[{section}.{name}]", fault, parameters(member)) for fault in error.errors()]
        return []

    def _construct(self, section: str, name: str, keys: Table, given: Mapping[str, Any]) -> Any:
        member = self._member(section, name)
        known = parameters(member)
        arguments = {key: self._value(section, member, key, value) for key, value in keys.items()}
        checked = _model(member)(**arguments)
        arguments = {key: getattr(checked, key) for key in arguments}
        asked = {key: value for key, value in given.items() if key in known and key not in arguments}
        if not inspect.isclass(member):
            return functools.partial(member, **arguments) if arguments else member
        for lacking in known.values():
            if lacking.default is inspect.Parameter.empty and lacking.name not in asked | arguments:
                where = "only Python or another command can give it" if _is_object(lacking.annotation) else "add it here"
                raise RecipeError(f"[{section}.{name}]: {lacking.name!r} must be given; {where}")
        try:
            return member(**asked, **arguments)
        except Exception as error:  # of a number that nobody thought of, whatever it leads to
            raise RecipeError(f"[{section}.{name}]: {_blamed(member, asked, arguments, error)}") from error

    def _value(self, section: str, member: Callable[..., Any], key: str, value: Any, build: bool = True) -> Any:
        """A key's value; where the parameter is an object and the value names one, that object."""
        parameter, place = parameters(member).get(key), f"[{section}.{getattr(member, '__name__', '')}]: {key}"
        if _holds_nan(value):
            raise RecipeError(f"{place} = {value}: expected a number")
        if parameter is None or not _is_object(parameter.annotation):
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


def _blamed(member: Callable[..., Any], given: Mapping[str, Any], arguments: Table, error: Exception) -> str:
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


def _holds_nan(value: Any) -> bool:
    return any(map(_holds_nan, value)) if isinstance(value, list) else isinstance(value, float) and value != value


def names() -> dict[str, str]:
    """The recipes that come with the package: name -> first comment line."""
    files = sorted((f for f in resources.files("unnoise.recipes").iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): f.read_text("utf-8").splitlines()[0].lstrip("# ") for f in files}


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
def _model(member: Any) -> Any:
    """A pydantic model of a constructor: unknown keys are refused, numbers and texts are checked, objects pass."""
    from pydantic import ConfigDict, create_model

    fields: Any = {p.name: (Any if _is_object(p.annotation) else p.annotation, None) for p in parameters(member).values()}
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(getattr(member, "__name__", "member"), __config__=config, **fields)


PLAIN = (str, int, float, bool, type(None), Path, list, tuple, dict, Sequence, Mapping)


def _is_object(hint: Any) -> bool:
    """Whether a parameter of this type takes an object of ours rather than text, numbers or lists of them."""
    if hint is Any:
        return False
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return False
    if origin in (typing.Union, types.UnionType):
        return all(_is_object(part) for part in typing.get_args(hint) if part is not type(None))
    return (origin or hint) not in PLAIN and (origin or hint) not in (typing.Sequence, typing.Mapping)


def _text(source: str | Path) -> str:
    path = Path(source)
    if path.is_file():
        return path.read_text("utf-8")
    known = names()
    if str(source) in known:
        return resources.files("unnoise.recipes").joinpath(f"{source}.toml").read_text("utf-8")
    if path.is_dir():
        raise RecipeError(
            f"{source} is a folder; expected a recipe, and the folder as its data: unnoise train pictures --data {source}"
        )
    raise RecipeError(f"no recipe {str(source)!r}{_hint(str(source), known)}; `unnoise recipes` lists them")


def _members(section: str, table: Any) -> Mapping[str, Table]:
    if isinstance(table, str):
        return {table: {}}
    if not isinstance(table, dict) or not all(isinstance(keys, dict) for keys in table.values()):
        raise RecipeError(f'[{section}]: expected {section} = "Name" or [{section}.Name] with its keys, given {table!r}')
    return table


def _override(top: Table, override: str) -> None:
    tables = top
    target, equals, text = override.partition("=")
    *parents, key = target.strip().split(".")
    if not equals or not key or len(parents) == 1:
        raise RecipeError(f"--set {override}: expected section.Name.key=value or section=Name")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for parent, child in zip(parents, (*parents[1:], key), strict=False):
        held = tables.get(parent, {})
        if isinstance(held, str):
            held = {held: {}} if tables is top or held == child else {}
        if tables is top and isinstance(held, dict) and child not in held:
            # Another member takes the place of the one there is; only of guidance there may be several, a new one innermost.
            held = {child: {}, **held} if parent == "guidance" else {}
        if not isinstance(held, dict):
            raise RecipeError(f"--set {override}: {parent} = {held!r} has nothing below it")
        tables[parent] = tables = held
    tables[key] = value


def _sentence(place: str, fault: Any, known: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{place}: no option {key!r}{_hint(key, known)}"
    return f"{place}: {key} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def _hint(name: str, known: Collection[str]) -> str:
    alike = {other.lower().replace("_", ""): other for other in known}
    near = get_close_matches(name.lower().replace("_", ""), list(alike), 1)
    if near:
        return f"; did you mean {alike[near[0]]!r}?"
    return f"; there are {', '.join(known)}" if len(known) <= 12 else ""
