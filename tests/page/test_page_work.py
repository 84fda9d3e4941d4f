"""What a person makes on the page, in a real browser before a real server, at a desk and on a phone."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.timeout(280)


def levels(content: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        return np.asarray(picture.convert("L"))


def digit() -> bytes:
    """A picture to drop: a bright bar, noisy."""
    x = np.zeros((8, 8)) + 20
    x[1:7, 3:5] = 220
    content = io.BytesIO()
    Image.fromarray((x + np.random.default_rng(0).normal(0, 15, x.shape)).clip(0, 255).astype("uint8")).save(content, "PNG")
    return content.getvalue()


def test_generate_watch_keep_and_find_again(visit: Any) -> None:
    visit.accessible()
    visit.field("Class").select_option(label="3")
    visit.set("How many", 6)
    visit.set("Seed", 11)
    visit.set("Steps", 80)  # long enough to be watched by a browser that is busy
    visit.make("Generate", 6)
    visit.until(lambda: len(set(visit.shown())) == 6)
    # What was watched can be looked back at: another picture of the walk, and the three views into it.
    end, slider = visit.shown(), visit.page.get_by_label("Go back in time")
    assert int(slider.get_attribute("max") or 0) >= 2
    slider.fill("1")
    visit.page.wait_for_function("end => document.querySelector('.grid canvas').toDataURL() !== end", arg=end[0])
    assert visit.page.locator(".three un-picture").count() == 3
    visit.until(lambda: len(set(visit.shown(".three canvas"))) == 3)
    assert re.search(r"Step \d+ of 80, t = \d\.\d+: ", visit.page.locator(".where").inner_text())
    visit.accessible()
    visit.page.get_by_role("button", name="Keep").click()
    visit.page.get_by_role("button", name="★ Kept").wait_for()
    # The same settings once more: the same bytes.
    visit.make("Generate", 6)
    first, second = visit.history(2)
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
    visit.until(lambda: visit.page.locator(".entry").count() == 1)
    visit.page.get_by_role("button", name="Restore settings").click()
    visit.until(lambda: visit.page.locator(".grid .tile").count() == 6)
    assert visit.field("Seed").input_value() == "11"


def test_vary_enlarge_and_travel(visit: Any) -> None:
    visit.field("Class").select_option(label="one of each")
    visit.set("How many", 2)
    visit.make("Generate", 2)
    assert visit.page.locator(".tile .name").all_inner_texts() == ["0", "1"]
    visit.make("Vary", 8)
    visit.make("Enlarge × 2", 1)
    assert levels(visit.history(3)[0]["rows"][0]).shape == (16, 16)
    visit.page.locator(".strip .thumb").last.click()
    visit.drawn()
    visit.page.get_by_role("button", name="Travel from it").click()
    visit.page.locator(".tile").nth(1).click()
    visit.drawn()
    visit.page.get_by_role("button", name="Travel to it").click()
    visit.set("Frames", 4)
    visit.set("Steps", 10)
    visit.make("Find the way")
    along = visit.page.get_by_label("Drag from one to the other")
    visit.page.locator(".journey canvas").wait_for()
    frames: list[str] = []
    for k in "0123":
        along.fill(k)
        frames.append(visit.another(".journey canvas", frames))
    visit.accessible()


def test_paint_and_fill(visit: Any) -> None:
    visit.set("How many", 1)
    visit.make("Generate", 1)
    visit.page.get_by_role("button", name="Paint on it").click()
    board = visit.board()
    box = board.bounding_box()
    assert box and box["width"] > 250
    visit.stroke(box, [(0.1, 0.8), (0.9, 0.8)])
    visit.stroke(box, [(0.5, 0.1), (0.5, 0.2)])
    both = float(board.evaluate("one => one.painted"))
    visit.drawn()
    visit.page.get_by_role("button", name="Undo").press("Enter")
    assert 0 < float(board.evaluate("one => one.painted")) < both
    visit.accessible()
    visit.set("How many ways", 3)
    visit.set("Steps", 10)
    visit.make("Fill what is painted", 3)
    made = visit.history(2)[0]
    mask, source = levels(made["mask"]) > 127, levels(made["source"])
    assert mask.any() and not mask.all()
    for row in made["rows"]:
        assert (levels(row)[~mask] == source[~mask]).all()
    assert len({levels(row)[mask].tobytes() for row in made["rows"]}) == 3
    visit.page.get_by_role("button", name="Back to the mask").click()
    visit.until(lambda: float(board.evaluate("one => one.painted")) == pytest.approx(mask.mean()))


def test_paint_by_keyboard(visit: Any) -> None:
    visit.tab("Paint")
    visit.drop(".drop", digit(), "bar.png")
    board = visit.board()
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


def test_restore_a_dropped_picture(visit: Any) -> None:
    visit.tab("Restore")
    visit.drop(".drop", digit(), "bar.png")
    visit.page.get_by_text("bar.png").first.wait_for()
    visit.accessible()
    visit.set("How many answers", 2)
    visit.page.get_by_text("More").click()
    visit.set("Steps", 10)
    visit.make("Restore", 2)
    visit.page.get_by_role("heading", name="bar.png: noise removed").wait_for()
    assert visit.history(1)[0]["task"] == "restore"
    visit.drop(".drop", b"no picture", "broken.png")
    visit.page.get_by_role("alert").get_by_text("broken.png is no picture").wait_for()


def test_the_model_tells_of_itself(visit: Any) -> None:
    visit.tab("Model")
    visit.page.get_by_text("grey pictures of 8 × 8 pixels").wait_for()
    visit.page.get_by_text("This run has no report yet").wait_for()
    visit.accessible()


def test_history_needs_no_mouse(visit: Any) -> None:
    """The grid is walked by arrow keys, and Generate is pressed by Enter."""
    visit.set("How many", 4)
    visit.field("Seed").press("Enter")
    visit.page.locator(".stage .chosen").wait_for()
    visit.page.locator(".tile").first.focus()
    for key, place in (("ArrowRight", 1), ("ArrowDown", 3)):  # a press is drawn in the next frame
        visit.page.keyboard.press(key)
        visit.page.locator(f".grid li:nth-child({place + 1}) .tile[aria-pressed=true]").wait_for(timeout=5000)
