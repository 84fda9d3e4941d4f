"""Labs and papers without running them: their code can be read, what it imports is there, and so is what pages include."""

import ast
import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
LABS = sorted(path for path in (DOCS / "labs").glob("*.md") if path.stem != "index")
PAGES = sorted(path for folder in ("labs", "papers", "questions") for path in (DOCS / folder).glob("*.md"))
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```", re.MULTILINE | re.DOTALL)
INCLUDED = re.compile(r"^```\{literalinclude\} (\S+)\n:language: python\n:pyobject: (\S+)\n```", re.MULTILINE)


def cells(text: str) -> list[str]:
    """The code of a page; the options of a cell are lines that begin with a colon."""
    return [re.sub(r"\A(:.*\n)+", "", cell) for cell in CELL.findall(text)]


@pytest.mark.parametrize("page", LABS, ids=lambda page: page.stem)
def test_what_a_lab_imports_of_the_package_is_there(page: Path) -> None:
    found = cells(page.read_text("utf-8"))
    assert len(found) > 4
    for node in (node for cell in found for node in ast.walk(ast.parse(cell))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unnoise"):
            place = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(place, alias.name) or importlib.import_module(f"{node.module}.{alias.name}"), alias.name


def test_a_diffusion_model_from_scratch_has_at_most_a_hundred_lines() -> None:
    own, _ = (DOCS / "labs" / "scratch.md").read_text("utf-8").split("## The same with the library's parts")
    lines = [line for cell in cells(own) for line in cell.splitlines() if line.strip()]
    assert 40 < len(lines) <= 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_what_a_page_includes_is_in_the_source(page: Path) -> None:
    text = page.read_text("utf-8")
    found = INCLUDED.findall(text)
    assert len(found) == text.count("{literalinclude}")
    for file, name in found:
        names = name.split(".")
        body = ast.parse((page.parent / file).read_text("utf-8")).body
        for part in names:
            (node,) = [one for one in body if isinstance(one, ast.ClassDef | ast.FunctionDef) and one.name == part]
            body = node.body


@pytest.mark.parametrize("folder", ["labs", "papers", "questions"])
def test_a_list_has_all_its_pages(folder: str) -> None:
    text = (DOCS / folder / "index.md").read_text("utf-8")
    for path in (DOCS / folder).glob("*.md"):
        assert path.stem == "index" or (f"({path.name})" in text and re.search(rf"^{path.stem}$", text, re.MULTILINE))


def test_every_paper_says_what_it_claims_and_what_was_measured() -> None:
    for path in (DOCS / "papers").glob("*.md"):
        if path.stem != "index":
            text = path.read_text("utf-8")
            assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
                "What it claims", "The algorithm, and our lines", "How to run it", "What we measured",
            ]  # fmt: skip
            assert "arxiv.org/abs/" in text and "{literalinclude}" in text
