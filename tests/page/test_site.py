"""The documentation as it is read: no warning, links that lead somewhere, nothing from outside, wide and narrow in a browser.

Notebooks are not executed here (`make docs` does); the code of questions and pages is run by other tests.
"""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FETCHED = {"img": "src", "script": "src", "link": "href", "source": "src", "video": "src", "iframe": "src", "input": "src"}
# What stands out to the right and is not within something that scrolls by itself.
STICKS_OUT = """() => {
  const width = document.documentElement.clientWidth;
  const held = (e) => { for (let p = e.parentElement; p; p = p.parentElement)
    if (getComputedStyle(p).overflowX !== "visible") return true; return false; };
  const out = [...document.querySelectorAll("article *")].filter((e) => e.getBoundingClientRect().right > width + 1 && !held(e));
  const gone = [...document.images].filter((i) => i.complete && !i.naturalWidth);
  const page = document.scrollingElement.scrollWidth > width ? ["the page itself"] : [];
  return [...page, ...out.map((e) => e.outerHTML.slice(0, 80)), ...gone.map((i) => i.src)].slice(0, 4);
}"""


class Page(HTMLParser):
    """Of a page what it fetches, where it leads, and the places in it that have a name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.names |= {told[key] for key in ("id", "name") if told.get(key)}
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
        elif FETCHED.get(tag) in told and told.get("rel") not in ("canonical", "search", "index", "next", "prev"):
            self.fetched.append(told[FETCHED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for needed in ("furo", "myst_nb", "latex2mathml"):
        pytest.importorskip(needed, reason="the docs extra is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-D", "nb_execution_mode=off", "-b", "html"]
    built = subprocess.run([*command, "-d", str(out / "trees"), str(DOCS), str(out / "html")], capture_output=True, text=True)
    assert built.returncode == 0 and not built.stderr, built.stderr[-4000:]
    return out / "html"


def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}


@pytest.mark.timeout(900)
def test_links_lead_somewhere_and_nothing_is_fetched_from_outside(site: Path) -> None:
    found, astray = pages(site), []
    assert len(found) > 80
    for path, page in found.items():
        for target in [*page.links, *page.fetched]:
            parts = urlsplit(target)
            if parts.scheme == "data" or (parts.scheme and target in page.links):
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            named = not parts.fragment or there.suffix != ".html" or unquote(parts.fragment) in found[there].names
            if parts.scheme or parts.netloc or not there.exists() or not named:
                astray.append(f"{path.relative_to(site)}: {target}")
    assert astray == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_page_in_a_browser_wide_and_narrow_and_the_search(site: Path, browser: Any) -> None:
    asked: list[str] = []
    wrong: dict[tuple[str, int, str], list[str]] = {}
    for width, scheme in ((390, "light"), (1440, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        said: list[str] = []
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        for path in pages(site):
            page.goto(path.as_uri())
            if found := [*page.evaluate(STICKS_OUT), *said]:
                wrong[str(path.relative_to(site)), width, scheme] = found
            said.clear()
        context.close()
    assert wrong == {}
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    for word in ("guidance", "Tweedie", "PredictorCorrector"):
        page.goto((site / "search.html").as_uri() + f"?q={word}")
        page.locator("#search-results li").first.wait_for(timeout=30_000)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
