"""A real browser before a real server of a little model, and what a person's hands do there."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from unnoise.recipe import Recipe
from unnoise.task.train import build

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
    "reduced_motion": "reduce",
}
LITTLE = ["network.UNet.width=8", "network.UNet.heads=1", "model.Defaults.batch=4", "model.Defaults.steps=8"]
# The history as the page keeps it: every entry, its pictures in base64.
HISTORY = """async () => {
  const asked = (request) => new Promise((done) => {
    request.onupgradeneeded = () => request.transaction.abort();  // it is the page that makes the store
    request.onsuccess = () => done(request.result);
    request.onerror = () => done(null);
  });
  const base = await asked(indexedDB.open("unnoise", 1));
  if (!base) return [];
  const all = await asked(base.transaction("made").objectStore("made").getAll());
  const text = async (blob) => blob && btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
  const plain = async ({ task, command, source, mask, rows }) => ({ task, command,
    source: await text(source?.blob), mask: await text(mask), rows: await Promise.all(rows.map((row) => text(row.png))) });
  return Promise.all(all.sort((a, b) => b.at - a.at).map(plain));
}"""
# The page draws what has changed in the next frame.
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
DROP = """([where, content, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector(where).dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }));
}"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server of one little model, and a token for it."""
    pytest.importorskip("uvicorn", reason="the serve extra is not installed")
    folder = tmp_path_factory.mktemp("served")
    model = build(Recipe.read("digits", LITTLE), seed=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.denoiser.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save(folder / "digits")
    tokens = folder / "tokens"
    words = [
        "serve",
        str(folder / "digits"),
        "--port",
        "0",
        "--token-file",
        str(tokens),
        "--threads",
        "1",
        "--log-level",
        "error",
    ]
    process = subprocess.Popen([sys.executable, "-m", "unnoise", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        link = next((m for line in process.stdout if (m := re.search(r"(http://\S+)/enter\?key=\S+", line))), None)
        assert link, "the server printed no link"
        yield link[1], re.split(r"[:\s]", tokens.read_text("utf-8").strip())[-1]
    finally:
        process.terminate()
        process.wait(40)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    with sync.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """One browser of its own, let in by a one-use link, that notes what it says and asks for."""

    def __init__(self, browser: Any, server: tuple[str, str], options: dict[str, Any]) -> None:
        self.address, token = server
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(60_000)
        link = self.context.request.post(
            f"{self.address}/v1/link", data={}, headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        )
        assert link.ok, link.text()
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.refused: list[str] = []
        self.page.on("console", lambda m: self.said.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        self.page.on("response", lambda r: r.status >= 400 and self.refused.append(f"{r.status} {r.url}"))
        self.page.on("pageerror", lambda e: self.said.append(str(e)))
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.goto(self.address + link.json()["path"])
        self.page.get_by_role("button", name="Generate").wait_for()

    def tab(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).click()

    def field(self, name: str) -> Any:
        return self.page.locator(".panel").get_by_label(name).first

    def set(self, name: str, value: int) -> None:
        self.field(name).fill(str(value))

    def until(self, what: Callable[[], object], patience: float = 60) -> None:
        """Waits for what comes about after a frame, a write or an answer, however slow the machine."""
        end = time.monotonic() + patience
        while not what():
            assert time.monotonic() < end, f"waited {patience} s in vain"
            self.page.wait_for_timeout(50)

    def drawn(self) -> None:
        self.page.evaluate(DRAWN)

    def make(self, button: str, n: int | None = None) -> None:
        """Presses a button and waits for its n pictures, where they stand in a grid."""
        with self.page.expect_request(lambda request: request.method == "POST"):
            self.page.locator("button:visible", has_text=re.compile(f"^{button}$")).click()
        self.drawn()  # what was shown before has gone
        self.page.locator(".stage .chosen").wait_for()
        self.until(lambda: n is None or self.page.locator(".grid .tile").count() == n)

    def history(self, n: int) -> list[dict[str, Any]]:
        """The n entries that the history holds, newest first; a picture is shown before it is written down."""
        self.until(lambda: len(self.page.evaluate(HISTORY)) == n)
        return list(self.page.evaluate(HISTORY))

    def accessible(self) -> None:
        from axe_playwright_python.sync_playwright import Axe

        self.drawn()
        found = Axe().run(self.page).response["violations"]
        assert not [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]

    def board(self) -> Any:
        """What is painted on, once the picture lies there."""
        board = self.page.locator("mask-painter")
        self.until(lambda: board.evaluate("one => one.firstChild?.width === 8"))
        self.drawn()
        return board

    def stroke(self, box: dict[str, float], along: list[tuple[float, float]]) -> None:
        """A line drawn across the board, by finger where the screen has one."""
        x, y = [box["x"] + box["width"] * a for a, _ in along], [box["y"] + box["height"] * b for _, b in along]
        if self.page.evaluate("navigator.maxTouchPoints") == 0:
            self.page.mouse.move(x[0], y[0])
            self.page.mouse.down()
            self.page.mouse.move(x[1], y[1], steps=3)
            self.page.mouse.up()
            return
        finger = self.context.new_cdp_session(self.page)
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x[0], "y": y[0]}]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x[1], "y": y[1]}]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def shown(self, where: str = ".grid un-picture canvas") -> list[str]:
        """What is drawn on the canvases."""
        return list(self.page.eval_on_selector_all(where, "all => all.map((one) => one.toDataURL())"))

    def another(self, where: str, than: list[str]) -> str:
        """The first canvas, once something else is drawn on it."""
        self.until(lambda: self.shown(where)[0] not in than)
        return self.shown(where)[0]

    def drop(self, where: str, content: bytes, name: str) -> None:
        self.page.locator(where).first.wait_for()
        self.page.evaluate(DROP, [where, base64.b64encode(content).decode(), name])


@pytest.fixture(params=[DESK, PHONE], ids=["1440", "390"])
def visit(request: pytest.FixtureRequest, browser: Any, server: tuple[str, str]) -> Iterator[Visit]:
    """A visit that must say nothing, ask nobody else and never scroll sideways."""
    one = Visit(browser, server, request.param)
    yield one
    assert not one.said, one.refused
    assert one.asked and all(url.startswith((one.address, "blob:" + one.address)) for url in one.asked)
    wide = one.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= one.page.viewport_size["width"], "the page scrolls sideways"
    one.context.close()
