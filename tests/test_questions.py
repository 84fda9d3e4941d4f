"""The pages of questions: each holds the code that makes its picture, which runs as it stands."""

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path for path in (DOCS / "questions").glob("*.md") if path.stem != "index")
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_makes_its_picture(page: Path) -> None:
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    pyplot.close("all")
    (cell,) = CELL.findall(page.read_text("utf-8"))
    tree, names, shown = ast.parse(cell), {}, None
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None  # what the page shows besides its figures
    exec(compile(tree, page.name, "exec"), names)
    if last:
        shown = eval(compile(ast.Expression(last.value), page.name, "eval"), names)
    assert pyplot.get_fignums() or shown.size[0] > 100
    pyplot.close("all")


def test_there_are_ten_and_the_list_has_them_all() -> None:
    listed = re.findall(r"^\d+\. \[.*\]\((\w+)\.md\)$", (DOCS / "questions" / "index.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == [page.stem for page in PAGES] and len(PAGES) == 10
