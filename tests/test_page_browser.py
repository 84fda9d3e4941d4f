"""The page in a real browser, before a real server: what a person does with it, at a desk and on a phone."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.recipe import Recipe
from unnoise.task.train import build

sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"), pytest.mark.timeout(280)]
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
LITTLE = ["network.UNet.width=8", "network.UNet.heads=1", "model.Defaults.batch=4", "model.Defaults.steps=8"]
# The history as the page keeps it: every entry, its pictures in base64.
HISTORY = """async () => {
  const asked = (request) => new Promise((done) => { request.onsuccess = () => done(request.result); });
  const base = await asked(indexedDB.open("unnoise", 1));
  const all = await asked(base.transaction("made").objectStore("made").getAll());
  const text = async (blob) => blob && btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
  const plain = async ({ task, command, source, mask, rows }) => ({ task, command,
    source: await text(source?.blob), mask: await text(mask), rows: await Promise.all(rows.map((row) => text(row.png))) });
  return Promise.all(all.sort((a, b) => b.at - a.at).map(plain));
}"""
DROP = """([where, content, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector(where).dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }));
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server of one little model, and a token for it."""
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
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
        self.page.on("console", lambda m: self.said.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
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

    def make(self, button: str, n: int) -> None:
        """Presses a button and waits for its n pictures."""
        self.page.locator("button:visible", has_text=re.compile(f"^{button}$")).click()
        self.page.locator("progress").wait_for(state="attached")
        self.page.locator(".stage .chosen").wait_for()
        assert self.page.locator(".grid .tile").count() == n

    def history(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate(HISTORY))

    def accessible(self) -> None:
        self.page.wait_for_timeout(100)  # a frame or two, so that what is looked at is what was drawn
        found = axe.Axe().run(self.page).response["violations"]
        assert not [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


@pytest.fixture(params=[DESK, PHONE], ids=["1440", "390"])
def visit(request: pytest.FixtureRequest, browser: Any, server: tuple[str, str]) -> Iterator[Visit]:
    one = Visit(browser, server, request.param)
    yield one
    assert not one.said
    assert one.asked and all(url.startswith((one.address, "blob:" + one.address)) for url in one.asked)
    wide = one.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= one.page.viewport_size["width"], "the page scrolls sideways"
    one.context.close()


def levels(content: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        return np.asarray(picture.convert("L"))


def shown(visit: Visit, where: str = ".grid un-picture canvas") -> list[str]:
    return list(visit.page.eval_on_selector_all(where, "all => all.map((one) => one.toDataURL())"))


def digit() -> str:
    """A picture to drop: a bright bar, noisy."""
    x = np.zeros((8, 8)) + 20
    x[1:7, 3:5] = 220
    content = io.BytesIO()
    Image.fromarray((x + np.random.default_rng(0).normal(0, 15, x.shape)).clip(0, 255).astype("uint8")).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def test_generate_watch_keep_and_find_again(visit: Visit) -> None:
    visit.accessible()
    visit.field("Class").select_option(label="3")
    visit.set("How many", 6)
    visit.set("Seed", 11)
    visit.make("Generate", 6)
    assert len(set(shown(visit))) == 6
    # What was watched can be looked back at: another picture of the walk, and the three views into it.
    end, slider = shown(visit), visit.page.get_by_label("Go back in time")
    assert int(slider.get_attribute("max") or 0) >= 4
    slider.fill("3")
    visit.page.wait_for_function("end => document.querySelector('.grid canvas').toDataURL() !== end", arg=end[0])
    assert visit.page.locator(".three un-picture").count() == 3
    assert len(set(shown(visit, ".three canvas"))) == 3
    assert re.search(r"Step [2-6] of 8, t = 0\.\d+: ", visit.page.locator(".where").inner_text())
    visit.accessible()
    visit.page.get_by_role("button", name="Keep").click()
    # The same settings once more: the same bytes.
    visit.make("Generate", 6)
    first, second = visit.history()
    assert (
        first["rows"] == second["rows"]
        and first["command"].startswith("unnoise sample digits")
        and "--seeds 11-16" in first["command"]
    )
    visit.page.reload()
    visit.set("Seed", 3)
    visit.tab("History")
    visit.page.locator(".entry").nth(1).wait_for()
    visit.accessible()
    visit.page.get_by_role("button", name="Kept only").click()
    assert visit.page.locator(".entry").count() == 1
    visit.page.get_by_role("button", name="Restore settings").click()
    assert visit.field("Seed").input_value() == "11"
    assert visit.page.locator(".grid .tile").count() == 6


def test_vary_enlarge_and_travel(visit: Visit) -> None:
    visit.field("Class").select_option(label="one of each")
    visit.set("How many", 2)
    visit.make("Generate", 2)
    assert visit.page.locator(".tile .name").all_inner_texts() == ["0", "1"]
    visit.make("Vary", 8)
    visit.make("Enlarge × 2", 1)
    assert levels(visit.history()[0]["rows"][0]).shape == (16, 16)
    visit.page.locator(".strip .thumb").last.click()
    visit.page.get_by_role("button", name="Travel from it").click()
    visit.page.locator(".tile").nth(1).click()
    visit.page.get_by_role("button", name="Travel to it").click()
    visit.set("Frames", 4)
    visit.set("Steps", 10)
    visit.page.get_by_role("button", name="Find the way").click()
    along = visit.page.get_by_label("Drag from one to the other")
    visit.page.locator(".stage .chosen").wait_for()
    frames = []
    for k in range(4):
        along.fill(str(k))
        visit.page.wait_for_timeout(80)
        frames += shown(visit, ".journey canvas")
    assert len(set(frames)) == 4
    visit.accessible()


def test_paint_and_fill(visit: Visit) -> None:
    visit.set("How many", 1)
    visit.make("Generate", 1)
    visit.page.get_by_role("button", name="Paint on it").click()
    board = visit.page.locator("mask-painter")
    box = board.bounding_box()
    assert box and box["width"] > 250
    stroke(visit, box, [(0.1, 0.8), (0.9, 0.8)])
    stroke(visit, box, [(0.5, 0.1), (0.5, 0.2)])
    both = float(board.evaluate("one => one.painted"))
    visit.page.get_by_role("button", name="Undo").click()
    assert 0 < float(board.evaluate("one => one.painted")) < both
    visit.accessible()
    visit.set("How many ways", 3)
    visit.set("Steps", 10)
    visit.make("Fill what is painted", 3)
    made = visit.history()[0]
    mask, source = levels(made["mask"]) > 127, levels(made["source"])
    assert mask.any() and not mask.all()
    for row in made["rows"]:
        assert (levels(row)[~mask] == source[~mask]).all()
    assert len({levels(row)[mask].tobytes() for row in made["rows"]}) == 3
    visit.page.get_by_role("button", name="Back to the mask").click()
    assert float(board.evaluate("one => one.painted")) == pytest.approx(mask.mean())


def stroke(visit: Visit, box: dict[str, float], along: list[tuple[float, float]]) -> None:
    """A line drawn across the board, by finger where the screen has one."""
    x, y = [box["x"] + box["width"] * a for a, _ in along], [box["y"] + box["height"] * b for _, b in along]
    if visit.page.evaluate("navigator.maxTouchPoints") == 0:
        visit.page.mouse.move(x[0], y[0])
        visit.page.mouse.down()
        visit.page.mouse.move(x[1], y[1], steps=3)
        visit.page.mouse.up()
        return
    finger = visit.context.new_cdp_session(visit.page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x[0], "y": y[0]}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x[1], "y": y[1]}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_paint_by_keyboard(visit: Visit) -> None:
    visit.tab("Paint")
    visit.page.evaluate(DROP, [".drop", digit(), "bar.png"])
    board = visit.page.locator("mask-painter")
    board.focus()
    board.press(" ")
    board.press("Shift+ArrowDown")
    painted = float(board.evaluate("one => one.painted"))
    assert painted > 0
    board.press("]")
    board.press("Control+z")
    board.press("Control+z")
    assert float(board.evaluate("one => one.painted")) == 0
    board.press("Control+y")
    assert 0 < float(board.evaluate("one => one.painted")) <= painted


def test_restore_a_dropped_picture(visit: Visit) -> None:
    visit.tab("Restore")
    visit.page.evaluate(DROP, [".drop", digit(), "bar.png"])
    visit.page.get_by_text("bar.png").first.wait_for()
    visit.accessible()
    visit.set("How many answers", 2)
    visit.page.get_by_text("More").click()
    visit.set("Steps", 10)
    visit.make("Restore", 2)
    assert visit.page.get_by_role("heading", name="bar.png: noise removed").count() == 1
    assert visit.history()[0]["task"] == "restore"
    visit.page.evaluate(DROP, [".drop", base64.b64encode(b"no picture").decode(), "broken.png"])
    visit.page.get_by_role("alert").get_by_text("broken.png is no picture").wait_for()


def test_stop_busy_and_gone(visit: Visit) -> None:
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


def test_the_model_tells_of_itself(visit: Visit) -> None:
    visit.tab("Model")
    visit.page.get_by_text("grey pictures of 8 × 8 pixels").wait_for()
    visit.page.get_by_text("This run has no report yet").wait_for()
    visit.accessible()


def test_history_needs_no_mouse(visit: Visit) -> None:
    """The grid is walked by arrow keys, and Generate is pressed by Enter."""
    visit.set("How many", 4)
    visit.field("Seed").press("Enter")
    visit.page.locator(".stage .chosen").wait_for()
    visit.page.locator(".tile").first.focus()
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("ArrowDown")
    assert visit.page.locator(".tile").nth(3).get_attribute("aria-pressed") == "true"


def test_nobody_without_the_link(browser: Any, server: tuple[str, str]) -> None:
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(server[0] + "/")
    assert answer and answer.status == 401 and "unnoise serve" in page.inner_text("body")
    assert context.request.get(server[0] + "/page/app.js").status == 401
    context.close()


def test_the_files_of_the_page_are_served_as_they_are(browser: Any, server: tuple[str, str]) -> None:
    from importlib import resources

    visit = Visit(browser, server, DESK)
    page = Path(str(resources.files("unnoise"))) / "serve" / "page"
    for path in page.glob("*.js"):
        answer = visit.context.request.get(f"{server[0]}/page/{path.name}")
        assert answer.ok and answer.body() == path.read_bytes() and "javascript" in answer.headers["content-type"]
    visit.context.close()
