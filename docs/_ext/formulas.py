"""Formulas as docstrings write them, `x_s = alpha_s x0 + sigma_s noise`, typeset: to LaTeX, and from there to MathML.

MathML needs no script and no picture: every browser draws it, without a network, in the colours of the page.
"""

import re
from itertools import groupby

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

GREEK = re.compile(
    "alpha|beta|gamma|delta|eps|zeta|eta|theta|kappa|lam|mu|nu|pi|rho|sigma|tau|phi|psi|omega|lambda"
)  # lam: house word
SPELLED = {"eps": r"\epsilon", "lam": r"\lambda"}
FUNCTIONS = re.compile("exp|log|log2|ln|cos|sin|tan|arctan|min|max|sign|round|floor|softmax|sigmoid|softplus|cdf|tr|KL|median")
LETTERS = {"E": r"\mathbb{E}", "N": r"\mathcal{N}"}
SIGNS = {
    "<=": r"\le ", ">=": r"\ge ", "->": r"\to ", "<-": r"\leftarrow ", "||": r"\,\|\,", "...": r"\dots ", "~": r"\sim ",
    "*": r"\cdot ", "|": "|", "{": r"\{", "}": r"\}", "%": r"\%",
}  # fmt: skip
TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<quoted>`[^`]+`|\"[^\"]+\")"
    r"|(?P<name>log_snr|[A-Za-z]+'s\b|[A-Za-z]+\d*'*~?)"
    r"|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<sign><=|>=|->|<-|\|\||\.\.\.|[-+*/=,;:.!|~<>()\[\]{}^_%])"
)


UNSPACED = {r"\nabla ", r"\sum ", r"\int ", r"\qquad ", *SIGNS.values()}


class Unreadable(ValueError):
    """A line that is not a formula."""


def to_latex(line: str) -> str:
    """One line of a docstring's formula as LaTeX; Unreadable if it holds a sign that formulas have not."""
    return Reader(line).expression(end=None)


class Reader:
    """Reads tokens from left to right; brackets and what stands after ^ and _ recurse."""

    def __init__(self, line: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(line):
            found = TOKEN.match(line, at)
            if not found or found.lastgroup is None:
                raise Unreadable(line[at:])
            self.tokens.append((found.lastgroup, found.group()))
            at = found.end()

    def expression(self, end: str | None) -> str:
        out: list[str] = []
        spaced = False
        while self.tokens:
            kind, text = self.tokens.pop(0)
            if text == end:
                return "".join(out)
            if kind == "space":
                spaced = True
                if len(text) > 1 and out and self.tokens and self.tokens[0][1] != "=":  # a wide gap parts formulas
                    out.append(r"\qquad ")
                continue
            if spaced and out and (kind != "sign" or text in "(|"):
                out.append(_gap(out[-1], text))
            out.append(self.sign(text, spaced) if kind == "sign" else self.atom(kind, text))
            spaced = False
        if end is not None:
            raise Unreadable(f"no {end}")
        return "".join(out)

    def sign(self, text: str, spaced: bool) -> str:
        if text in "^_":
            return text + "{" + self.script() + "}"
        if text == "(":
            return r"\left(" + self.expression(")") + r"\right)"
        if text == "." and spaced and self.tokens and self.tokens[0][0] == "space":
            return r"\cdot "
        return SIGNS.get(text, text)

    def script(self) -> str:
        """What stands raised or lowered: a bracket without its brackets, or a signed atom with scripts of its own."""
        if not self.tokens:
            raise Unreadable("nothing after ^ or _")
        kind, text = self.tokens.pop(0)
        if text in "({":
            return self.expression({"(": ")", "{": "}"}[text])
        if text == "-":
            return "-" + self.script()
        if kind == "sign":
            raise Unreadable(text)
        out = self.atom(kind, text)
        if self.tokens and self.tokens[0][1] == "_":
            self.tokens.pop(0)
            out += "_{" + self.script() + "}"
        return out

    def atom(self, kind: str, text: str) -> str:
        if kind == "number":
            return text
        if kind == "quoted" or text.endswith("'s"):
            return r"\text{" + text.strip("`") + "}"
        if text == "log_snr":
            return r"\operatorname{log\,snr}"
        if text == "sqrt" and self.tokens and self.tokens[0][1] == "(":
            self.tokens.pop(0)
            return r"\sqrt{" + self.expression(")") + "}"
        if text in ("sum", "integral") and [word for _, word in self.tokens[:2]] == [" ", "of"]:
            del self.tokens[:2]
        out = name(text)
        if (
            out.endswith("}") and text[-1].isdigit() and self.tokens and self.tokens[0][1] == "_"
        ):  # x0_u: one index after the other
            self.tokens.pop(0)
            return out[:-1] + "," + self.script() + "}"
        return out


def name(text: str) -> str:
    """A name: a Greek or Roman letter, a letter with an index, a function, or a word."""
    marks = re.fullmatch(r"([A-Za-z]+)(\d*)('*)(~?)", text)
    assert marks
    letters, index, primes, tilde = marks.groups()
    if FUNCTIONS.fullmatch(letters + index):
        return r"\operatorname{" + letters + "}" + ("_{" + index + "}" if index else "")
    if GREEK.fullmatch(letters):
        out = SPELLED.get(letters, "\\" + letters + " ")
    elif letters == "grad":
        return r"\nabla "
    elif letters == "sum":
        return r"\sum "
    elif letters == "integral":
        return r"\int "
    elif len(letters) == 1:
        out = LETTERS.get(letters, letters)
    else:
        out = r"\mathrm{" + letters + "}"
    out = rf"\tilde{{{out}}}" if tilde else out
    return out + ("_{" + index + "}" if index else "") + primes


def _gap(before: str, text: str) -> str:
    """What a space in the source becomes: between words a word's space, between factors a thin one, else nothing."""
    if not re.search(r"[A-Za-z0-9})'] ?$", before) or before in UNSPACED:
        return ""
    word = re.search(r"\\(mathrm|text){[^{}]*}$", before) or before in ";,"
    return (
        r"\ "
        if word or (len(text) > 1 and text.isalpha() and not (GREEK.fullmatch(text) or FUNCTIONS.fullmatch(text)))
        else r"\,"
    )


def typeset(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Indented blocks before `Args:` become formulas; a block with a line that is none stays as it is written."""
    out: list[str] = []
    sections = re.compile(r"(Args|Raises|Reference|References|Returns|Attributes|Example|Examples):")
    end = next((k for k, line in enumerate(lines) if sections.match(line)), len(lines))
    for indented, group in groupby(lines[:end], lambda line: line.startswith("    ")):
        run = list(group)
        out += formula(run) if indented else plain("\n".join(run)).split("\n")
    lines[:] = out + plain("\n".join(lines[end:])).split("\n")


def plain(text: str) -> str:
    """A docstring's text as reStructuredText: its `code` is Markdown's, its * and | are themselves, arXiv numbers link."""
    parts = re.split(r"(`[^`]+`)", text)
    marks = re.compile(r"([*|`\\])|(?<=\w)_(?=\W|$)", re.MULTILINE)
    text = "".join(f"`{part}`\\ " if part.startswith("`") else marks.sub(r"\\\g<0>", part) for part in parts)
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", text)


def formula(block: list[str]) -> list[str]:
    try:
        rows = [to_latex(line.strip()) for line in block]
    except Unreadable:
        return ["", "::", "", *block, ""]
    out = [""]
    for row in rows:
        out += [".. math::", "   :nowrap:", "", "   " + row, ""]
    return out


def mathml(self: object, node: nodes.math | nodes.math_block, display: str) -> None:
    self.body.append(convert(node.astext().strip(), display=display))  # type: ignore[attr-defined]
    raise nodes.SkipNode


def block(self: object, node: nodes.math_block) -> None:
    self.body.append('<div class="formula">')  # type: ignore[attr-defined]
    self.body.append(convert(node.astext().strip(), display="block"))  # type: ignore[attr-defined]
    self.body.append("</div>")  # type: ignore[attr-defined]
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.connect("autodoc-process-docstring", typeset, priority=100)  # before napoleon
    app.add_html_math_renderer("mathml", (lambda self, node: mathml(self, node, "inline"), None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
