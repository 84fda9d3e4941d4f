"""What goes otherwise: stopped, busy, reloaded, no answer, not let in."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

pytestmark = pytest.mark.timeout(280)


def test_stop_busy_and_gone(visit: Any) -> None:
    visit.set("Steps", 100)
    visit.page.get_by_role("button", name="Generate").click()
    visit.page.get_by_role("button", name="Stop").click()
    visit.page.get_by_text("Stopped.").wait_for()
    # A full queue: the page waits as long as it is told to, and orders again.
    busy = {
        "status": 429,
        "headers": {"Retry-After": "2"},
        "json": {"error": {"type": "busy", "message": "full", "retry_after": 2}},
    }
    visit.page.route("**/v1/sample", lambda route: route.fulfill(**busy), times=1)
    visit.set("Steps", 4)
    visit.set("How many", 1)
    visit.page.get_by_role("button", name="Generate").click()
    visit.page.get_by_text(re.compile("Busy. Trying again in [12] s.")).wait_for()
    visit.page.locator(".stage .chosen").wait_for()
    visit.page.route("**/v1/sample", lambda route: route.abort())
    visit.page.get_by_role("button", name="Generate").click()
    visit.page.get_by_text("The server does not answer. Is").wait_for()
    # The browser itself notes what was refused and what failed, and nothing else was said.
    assert all("Failed to load resource" in line for line in visit.said)
    visit.said.clear()


def test_a_reload_goes_on_with_what_runs(visit: Any) -> None:
    visit.set("Steps", 60)
    visit.set("How many", 2)
    visit.page.get_by_role("button", name="Generate").click()
    visit.page.locator(".where b").wait_for()
    visit.page.reload()
    visit.page.get_by_text(re.compile("Step [0-9]+ of 60|2 pictures in")).first.wait_for()
    visit.page.locator(".stage .chosen").wait_for()
    (only,) = visit.history(1)
    assert len(only["rows"]) == 2 and all(only["rows"])


def test_nobody_without_the_link(browser: Any, server: tuple[str, str]) -> None:
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(server[0] + "/")
    assert answer and answer.status == 401 and "unnoise serve" in page.inner_text("body")
    assert context.request.get(server[0] + "/page/app.js").status == 401
    context.close()


def test_the_files_of_the_page_are_served_as_they_are(server: tuple[str, str]) -> None:
    page = Path(str(resources.files("unnoise"))) / "serve" / "page"
    for path in page.glob("*.js"):
        asked = Request(f"{server[0]}/page/{path.name}", headers={"Authorization": f"Bearer {server[1]}"})
        with urlopen(asked, timeout=60) as answer:
            assert answer.read() == path.read_bytes()
            assert "javascript" in answer.headers["content-type"] and answer.headers["x-content-type-options"] == "nosniff"
