"""The served page as files: nothing from elsewhere, nothing inline, a label for every field, and all of it in the package."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

PAGE = Path(str(resources.files("unnoise"))) / "serve" / "page"
OWN = sorted(PAGE.glob("*.js"))
ADDRESS = re.compile(r"\b(?:https?|wss?)://[^\s\"'`)]*|(?<![:/\w])//[\w-]+\.\w+")
NAMESPACE = "http://www.w3.org/2000/svg"  # a name, never fetched


class Tags(HTMLParser):
    """Every element of a document with its attributes and its own text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attrs, text = self.found[-1]
            self.found[-1] = (tag, attrs, text + data)


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|(?m:^\s*//.*$)|(?<=[;,{}(]) //[^\n]*", "", text, flags=re.S)


@pytest.fixture(scope="module")
def index() -> Tags:
    return Tags((PAGE / "index.html").read_text("utf-8"))


def test_the_page_has_nothing_inline(index: Tags) -> None:
    assert any(tag == "script" for tag, _, _ in index.found)
    for tag, attrs, text in index.found:
        assert tag != "style" and "style" not in attrs
        assert not [name for name in attrs if name.startswith("on")]
        if tag == "script":
            assert attrs.get("src") and not text.strip()


def test_all_that_the_page_names_is_beside_it(index: Tags) -> None:
    named = [attrs[key] for _, attrs, _ in index.found for key in ("src", "href") if attrs.get(key)]
    assert len(named) >= 3
    for address in named:
        assert address and address.startswith("page/"), address
        assert (PAGE / address.removeprefix("page/")).is_file(), address


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.name)
def test_modules_import_their_neighbours_alone(path: Path) -> None:
    for name in re.findall(r'(?:from|import)\s*\(?\s*"([^"]+)"', path.read_text("utf-8")):
        assert name.startswith("./") and (PAGE / name).is_file(), f"{path.name}: {name}"


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.name)
def test_modules_keep_to_the_policy(path: Path) -> None:
    """What a strict Content-Security-Policy would refuse, or what makes text of others into elements, is not there."""
    text = without_comments(path.read_text("utf-8"))
    for refused in (r"\seval\(", r"new Function", r"innerHTML", r"insertAdjacentHTML", r"document\.write", r"<style", r"<script"):
        assert not re.search(refused, text), refused
    assert not re.search(r"<[^>`]*\s(?:style|on[a-z]+)=", text)


@pytest.mark.parametrize(
    "path", [p for p in sorted(PAGE.rglob("*")) if p.suffix in (".js", ".css", ".svg", ".html")], ids=lambda p: p.name
)
def test_nothing_points_elsewhere(path: Path) -> None:
    text = without_comments(path.read_text("utf-8")).replace(NAMESPACE, "").replace("http://www.w3.org/1998/Math/MathML", "")
    assert not ADDRESS.findall(text)
    assert "@import" not in text and not re.search(r"url\((?!['\"]?#)", text)


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.name)
def test_every_field_has_a_label(path: Path) -> None:
    text = path.read_text("utf-8")
    labels = set(re.findall(r"<label[^>]*\bfor=(\"[\w-]+\"|\$\{\w+\})", text))
    for field in re.findall(r"<(?:input|select|textarea)\b(?:[^<>]|=>)*>", text):
        own = re.search(r"\bid=(\"[\w-]+\"|\$\{\w+\})", field)
        inside = re.search(rf"<label[^<]*(?:<span>[^<]*</span>)?\s*{re.escape(field[:40])}", text)
        assert "aria-label=" in field or inside or (own and own[1] in labels), field


def test_what_others_wrote_comes_with_its_licence() -> None:
    for module in (PAGE / "vendor").glob("*.js"):
        assert "SPDX-License-Identifier" in module.read_text("utf-8")
        assert len((PAGE / "vendor" / f"{module.stem}.LICENSE").read_text("utf-8")) > 500


def test_the_page_goes_into_the_wheel() -> None:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed here")
    root = PAGE.parents[2]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("not a source tree")
    shipped = {Path(file.path).resolve() for file in builder.WheelBuilder(str(root)).recurse_included_files()}
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    assert files and all(path.resolve() in shipped for path in files)


def test_files_are_short() -> None:
    for path in [*OWN, PAGE / "style.css", PAGE / "index.html"]:
        assert len(path.read_text("utf-8").splitlines()) <= 300, path.name
