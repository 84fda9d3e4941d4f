"""Commands that the documentation and the README show: verbs, options and recipes that there are."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

import unnoise.cli.verbs  # noqa: F401
from unnoise.cli.app import app
from unnoise.recipe import names

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)])
INLINE = re.compile(r"`unnoise ([^`\n]+)`")
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """What follows the name of the program: in the text, and on lines of blocks, without what is said of it there."""
    blocks = "\n".join(FENCED.findall(text)).replace("\\\n", " ")
    return [*INLINE.findall(text), *re.findall(r"^(?:\$ |PYTHONPATH=\. )?unnoise +(.+?)(?: *#.*)?$", blocks, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_the_verbs_options_and_recipes_that_there_are(page: Path) -> None:
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    for line in commands(page.read_text("utf-8")):
        verb, *words = shlex.split(line)
        if verb.startswith("--"):
            continue
        assert verb in verbs, line
        known = {option for parameter in verbs[verb].params for option in (*parameter.opts, *parameter.secondary_opts)} | {
            "--help"
        }
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, line
        named = words[0] if words else ""
        if verb == "train" and re.fullmatch("[a-z][a-z0-9-]*", named):
            assert named in names(), line


def test_commands_are_found() -> None:
    found = [line for page in PAGES for line in commands(page.read_text("utf-8"))]
    assert len(found) > 100 and {line.split()[0] for line in found} >= {"train", "sample", "edit", "serve", "evaluate"}
