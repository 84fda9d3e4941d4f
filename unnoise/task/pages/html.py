"""Pages from templates: what several of them share is written once, here (`parts.html`, `style.css`)."""

from __future__ import annotations

from importlib import resources
from typing import Any


def render(package: str, template: str, **values: Any) -> str:
    """A template of a package, filled in; all text is escaped that is not `markupsafe.Markup`."""
    from jinja2 import Environment, FunctionLoader

    def load(name: str) -> str:
        own, shared = (resources.files(place).joinpath(name) for place in (package, __package__))
        return (own if own.is_file() else shared).read_text("utf-8")

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(load))
    environment.filters["duration"] = duration
    return environment.get_template(template).render(**values)


def duration(seconds: float) -> str:
    """A time as a person says it."""
    for size, name in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 1.5 * size:
            digits = 0 if seconds >= 20 * size else 1
            return f"{seconds / size:.{digits}f} {name}"
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1000 * seconds:.2g} ms"
