"""Every formula of a docstring can be typeset for the documentation site."""

import ast
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("latex2mathml", reason="the documentation's tools are not installed")
pytest.importorskip("sphinx", reason="the documentation's tools are not installed")
ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs" / "_ext"))

from formulas import Unreadable, convert, to_latex  # noqa: E402


def formulas(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            body = re.split(r"^(?:Args|Raises|References?|Returns|Attributes|Examples?):", text, flags=re.MULTILINE)[0]
            found += [line.strip() for line in body.splitlines() if line.startswith("    ")]
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "unnoise").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_formula_becomes_mathml(path: Path) -> None:
    for line in formulas(path):
        assert convert(to_latex(line)).startswith("<math")


@pytest.mark.parametrize(
    "line, latex",
    [
        ("x_s = alpha_s x0", r"x_{s}=\alpha _{s}\,x_{0}"),
        ("sqrt(1 - tau^2) eps", r"\sqrt{1-\tau ^{2}}\,\epsilon"),
        ("C^(-1/2) (y~ - x0_u)", r"C^{-1/2}\,\left(\tilde{y}-x_{0,u}\right)"),
        ("E[x | x_t] <= log_snr", r"\mathbb{E}[x\,|x_{t}]\le \operatorname{log\,snr}"),
        ("a mean of it", r"a\ \mathrm{mean}\ \mathrm{of}\ \mathrm{it}"),
    ],
)
def test_what_a_line_becomes(line: str, latex: str) -> None:
    assert to_latex(line) == latex


@pytest.mark.parametrize("line", ["x = $5", "f(x", "x_", "x^"])
def test_what_is_no_formula_is_said_to_be_none(line: str) -> None:
    with pytest.raises(Unreadable):
        to_latex(line)
