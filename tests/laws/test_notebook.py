"""What things show of themselves in a notebook: well-formed, self-contained, and the truth."""

import base64
import io
import itertools
import re
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image
from test_schedule import MEMBERS

from unnoise import show
from unnoise.denoiser import Gaussian
from unnoise.model import Model
from unnoise.recipe import Recipe, names
from unnoise.sampler import DDIM, Course
from unnoise.schedule import Cosine, Schedule
from unnoise.times import Uniform

OWN = [name for name in names() if Recipe.read(name).members("domain").keys() <= {"Digits", "Points"}]
VOID = {"br", "img", "path", "polyline"}


class Balanced(HTMLParser):
    """Opened is closed, and nothing is asked from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe")
        assert all((value or "").startswith("data:") for name, value in attrs if name in ("src", "href"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def picture(html: str) -> Image.Image:
    found = re.search(r"data:image/png;base64,([^\"]+)", html)
    assert found
    return Image.open(io.BytesIO(base64.b64decode(found[1])))


@pytest.mark.parametrize("schedule", MEMBERS.values(), ids=MEMBERS.keys())
def test_a_schedule_draws_its_curves(schedule: Schedule) -> None:
    html = schedule._repr_html_()
    Balanced(html)
    curves = [[tuple(map(float, p.split(","))) for p in line.split()] for line in re.findall(r'points="([^"]*)"', html)]
    assert len(curves) == 3
    assert all(len(curve) > 90 for curve in curves)
    _, alpha, log_snr = curves
    for curve in (alpha, log_snr):  # both fall; y points down, and is rounded to a tenth of a pixel
        assert all(later[1] >= earlier[1] - 0.11 for earlier, later in itertools.pairwise(curve))


@pytest.mark.parametrize("name", OWN)
def test_a_model_shows_its_card(name: str) -> None:
    model = Model(Recipe.read(name))
    html = model._repr_html_()
    Balanced(html)
    count = sum(p.numel() for p in model.denoiser.parameters())
    assert f"{count:,} parameters" in html and "polyline" in html
    for condition in model.denoiser.conds:
        assert condition in html


def walk(shape: tuple[int, ...], n: int = 3) -> Course:
    size = int(torch.tensor(shape).prod())
    denoiser = Gaussian(Cosine(), torch.full((size,), 0.5), 1e-6 * torch.eye(size))
    return Course(DDIM().walk(denoiser, torch.randn(n, *shape), Uniform()(Cosine(), 12)))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 9), (2, 4, 4)])
def test_a_course_of_pictures_is_a_strip_that_ends_on_the_sample(shape: tuple[int, ...]) -> None:
    course = walk(shape)
    html = course._repr_html_()
    Balanced(html)
    sheet = picture(html)
    last = sheet.crop((sheet.width - 8, 0, sheet.width, 8)).convert("L")
    assert set(last.tobytes()) == {round(1.5 * 127.5)}  # x = 0.5 everywhere
    zoom = show.SIDE // max(shape[1:])
    assert sheet.size == (10 * (zoom * shape[2] + 4) - 4, 4 * (zoom * shape[1] + 4) - 4)


def test_a_course_of_rows_takes_the_shape_of_its_pictures() -> None:
    flat = Course(walk((16,)), shape=(1, 4, 4))
    assert picture(flat._repr_html_()).width > 100


@pytest.mark.parametrize("course", [Course(), walk((2,)), walk((5,))])
def test_other_courses_are_told_in_words(course: Course) -> None:
    html = course._repr_html_()
    Balanced(html)
    assert "<img" not in html


def test_names_cannot_bring_markup() -> None:
    for html in (show.table("<b>", {"<i>": "<script>"}), show.chart("<b>", [0, 1], {"<i>": [0, 1]})):
        Balanced(html)
        assert "<b>" not in html and "<i>" not in html


def test_a_chart_leaves_out_what_is_not_finite() -> None:
    html = show.chart("x", [0, 0.5, 1], {"a": [1.0, float("inf"), 2.0]})
    (points,) = re.findall(r'points="([^"]*)"', html)
    assert len(points.split()) == 2
