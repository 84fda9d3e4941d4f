"""Recipes as text: found by path or name, and changed before they are read as parts."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

Table = dict[str, Any]


class RecipeError(ValueError):
    """A recipe that cannot be followed, with all that is wrong with it."""


def names() -> dict[str, str]:
    """The recipes that come with the package: name -> first comment line."""
    files = sorted((f for f in resources.files("unnoise.recipes").iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): f.read_text("utf-8").splitlines()[0].lstrip("# ") for f in files}


def find(source: str | Path) -> str:
    """The text of a recipe, by its path or by the name of one that comes with the package."""
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
    raise RecipeError(f"no recipe {str(source)!r}{hint(str(source), known)}; `unnoise recipes` lists them")


def tables_of(section: str, table: Any) -> Mapping[str, Table]:
    """What stands under a heading, or beside it: name -> keys."""
    if isinstance(table, str):
        return {table: {}}
    if not isinstance(table, dict) or not all(isinstance(keys, dict) for keys in table.values()):
        raise RecipeError(f'[{section}]: expected {section} = "Name" or [{section}.Name] with its keys, given {table!r}')
    return table


def change(top: Table, asked: str) -> None:
    """Does what "section.Name.key=value" or "section=Name" asks of the tables of a file."""
    tables = top
    target, equals, text = asked.partition("=")
    *parents, key = target.strip().split(".")
    if not equals or not key or len(parents) == 1:
        raise RecipeError(f"--set {asked}: expected section.Name.key=value or section=Name")
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
            raise RecipeError(f"--set {asked}: {parent} = {held!r} has nothing below it")
        tables[parent] = tables = held
    tables[key] = value


def hint(name: str, known: Collection[str]) -> str:
    """The end of a line about a name that is not known: the nearest one that is, or all where they are few."""
    alike = {other.lower().replace("_", ""): other for other in known}
    near = get_close_matches(name.lower().replace("_", ""), list(alike), 1)
    if near:
        return f"; did you mean {alike[near[0]]!r}?"
    return f"; there are {', '.join(known)}" if len(known) <= 12 else ""
