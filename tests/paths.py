"""Strings that would like to be paths, addresses or commands, and the places of an OpenAPI document where a string can stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Making = Callable[[str], Any]  # a body with a text in one place

ROUTES = [
    "/{}", "//{}", "{}", "./{}", "a/../../{}", "~/{}", "~root/{}", "$HOME/{}", "${{HOME}}/{}", "%HOME%\\{}",
    "`cat /{}`", "$(cat /{})", "; cat /{}", "| cat /{}", "/proc/self/root/{}", "/proc/self/cwd/{}",
    "/dev/fd/../../../../{}", "C:/{}", "C:\\{}", "c:{}", "\\\\?\\C:\\{}", "\\\\host\\share\\{}", "//host/share/{}",
    "\\\\.\\pipe\\{}", "file:{}", "file:///{}", "FILE://localhost/{}", "file:////{}", "jar:file:/{}!/x", "zip://{}",
    "php://filter/resource=/{}", "http://127.0.0.1:22/{}", "https://[::1]/{}", "ftp://host/{}", "smb://host/{}",
    "gopher://host/{}", "http://169.254.169.254/{}", "data:text/plain,/{}", "/{}\0.png", "/{}%00.png", "/{}\n",
    "/{}\r\nX-More: 1", " /{} ", "\t/{}", "\u202e/{}", "\u200b/{}", "\ufeff/{}", "{}/", "/{}/.", "/{}#x", "/{}?x=1",
    "@/{}", "!include /{}", "<!ENTITY x SYSTEM '/{}'>", "{{{{ open('/{}') }}}}",
]  # fmt: skip
STEPS = [
    "../", "..\\", "....//", "....\\\\", "..;/", "%2e%2e/", "%2e%2e%2f", "..%2f", "..%5c", "%252e%252e%252f",
    "..%c0%af", "..%e0%80%af", "..%ef%bc%8f", "\uff0e\uff0e/", "..\uff0f", "..\u2215", "..\u2044", "\u2025/",
    ".\u200b./", "..//", ".././", "..\x00/", "/..",
]  # fmt: skip
NAMES = [
    "", " ", ".", "..", "...", "/", "//", "\\", "~", "-", "--help", "*", "?", "[a-z]*", "CON", "NUL", "aux.txt",
    "COM1", "LPT9", "con.png", "/dev/zero", "/dev/stdin", "/dev/random", "/proc/self/fd/0", "\0", "\n", "\r\n", "%00",
    "%", "%n%s%x", "os:system", "os:getcwd", "unnoise.serve.server:serve", "__import__('os').getcwd()", "__class__",
    "../__init__", "a" * 300, "a/" * 2000, "../" * 1000, "\u00e9" * 100, "\U0001f600", "cafe\u0301", "\u0130",
    "\ufffe", "link", "./link", "digits/link", "link/", "LINK", "digits/../digits/link",
]  # fmt: skip


def hostile(targets: list[str], more: list[str]) -> list[str]:
    """All forms of targets (paths without the first slash), the plainest of some more, and names that are evil by themselves."""
    forms = [*ROUTES, *(step * times + "{}" for step in STEPS for times in (1, 4, 12))]
    plain = ["/{}", "{}", "../../../../{}", "..%2f..%2f..%2f..%2f{}", "file:///{}"]
    found = [form.format(target) for target in targets for form in forms]
    found += [target.replace("/", slash) for target in targets for slash in ("\uff0f", "\u2215", "\u2044", "\\", ":", "%2f")]
    found += [form.format(target) for target in more for form in plain]
    return list(dict.fromkeys([*found, *NAMES]))


class Document:
    """An OpenAPI document.

    Args:
        content: As JSON.
        known: Values by a field's name, where the least that its schema allows would lead nowhere.
    """

    def __init__(self, content: dict[str, Any], known: dict[str, Any]) -> None:
        self.content, self.known = content, known

    def places(self, kind: str = "application/json") -> Iterator[tuple[str, str, str, Making]]:
        """Every place of every body of a type: method, path, the place's name, and what makes a body with a text there."""
        for path, methods in self.content["paths"].items():
            for method, about in methods.items():
                body = about.get("requestBody", {}).get("content", {}).get(kind)
                if body:
                    made = dict(self.strings(body["schema"]))
                    yield from ((method.upper(), path, name, making) for name, making in made.items())

    def strings(self, schema: dict[str, Any], name: str = "") -> Iterator[tuple[str, Making]]:
        """Where in a value of this schema a string can stand, and values with a text there."""
        schema = self.resolved(schema)
        for option in schema.get("anyOf", schema.get("oneOf", ())):
            yield from self.strings(option, name)
        if schema.get("type") == "string" and schema.get("format") != "binary":
            yield name, lambda text: text
        items = schema.get("prefixItems") or [schema["items"]] if schema.get("type") == "array" else []
        for i, item in enumerate(items):
            rest = (
                [self.least(one) for one in items] if "prefixItems" in schema else [self.least(item)] * schema.get("minItems", 1)
            )
            for inner, making in self.strings(item, f"{name}[]"):
                yield inner, lambda text, i=i, rest=rest, making=making: [*rest[:i], making(text), *rest[i + 1 :]]  # type: ignore[misc]
        if schema.get("type") == "object":
            yield from self._of_object(schema, name)

    def least(self, schema: dict[str, Any], name: str = "") -> Any:
        """A value that the schema allows, as small as it can be."""
        if name in self.known:
            return self.known[name]
        schema = self.resolved(schema)
        if options := schema.get("anyOf", schema.get("oneOf")):
            return self.least(options[0])
        if "const" in schema or "enum" in schema or "default" in schema:
            return schema.get("const", schema.get("enum", [schema.get("default")])[0])
        kinds: dict[str, Callable[[], Any]] = {
            "string": lambda: "a" * 26,
            "integer": lambda: schema.get("minimum", 0),
            "number": lambda: schema.get("minimum", schema.get("exclusiveMinimum", -0.5) + 0.5),
            "boolean": lambda: False,
            "null": lambda: None,
            "array": lambda: [self.least(schema["items"])] * schema.get("minItems", 0),
            "object": lambda: self._least_object(schema),
        }
        return kinds[schema["type"]]()

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self.content["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def _least_object(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {name: self.least(schema["properties"][name], name) for name in schema.get("required", ())}

    def _of_object(self, schema: dict[str, Any], name: str) -> Iterator[tuple[str, Making]]:
        least, dot = self._least_object(schema), f"{name}." if name else ""
        for key, value in schema.get("properties", {}).items():
            for inner, making in self.strings(value, dot + key):
                yield inner, lambda text, key=key, making=making: {**least, key: making(text)}  # type: ignore[misc]
        more = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))
        if isinstance(more, dict):
            yield f"{dot}(key)", lambda text: {**least, text: self.least(more)}
            for inner, making in self.strings(more, f"{dot}(value)"):
                yield inner, lambda text, making=making: {**least, "label": making(text)}  # type: ignore[misc]
