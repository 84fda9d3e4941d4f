"""Films: right frames, delays and ends in every kind of file, loops that close, and one line for what cannot be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.denoiser import Mixture
from unnoise.denoiser.blended import Blended
from unnoise.model import load
from unnoise.schedule import VP
from unnoise.task.animate import Animated, Animation, Film, animate
from unnoise.task.animate import film as films
from unnoise.task.animate.tour import Tour
from unnoise.task.animate.way import even, moved, paced, slerp, unevenness
from unnoise.task.animate.zoom import zoom
from unnoise.task.sample import KEY, Order, reproduce

QUICK = ("model.Defaults.steps=6",)
KINDS = ["gif", "webp", "apng", "mp4"]


def made(run: Path, wish: Animation, out: Path, seeds: Sequence[int] = (0,), **more: object) -> Animated:
    return animate(run, wish, Order(list(seeds), overrides=QUICK, **more), out)  # type: ignore[arg-type]


def frames_of(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Frames and their delays in milliseconds, as another reader sees them."""
    if path.suffix == ".mp4":
        import av

        with av.open(str(path)) as container:
            assert KEY in container.metadata["comment"] or "weights" in container.metadata["comment"]
            shown = list(container.decode(video=0))
        at = [float(frame.pts * frame.time_base) * 1000 for frame in shown]
        return [frame.to_ndarray(format="gray") for frame in shown], [*np.diff(at), at[1] - at[0]]
    shown, delays = [], []
    with Image.open(path) as film:
        assert film.info["loop"] == 0
        for k in range(film.n_frames):
            film.seek(k)
            film.load()
            shown.append(np.asarray(film.convert("L"), dtype=np.float64))
            delays.append(film.info["duration"])
    return shown, delays


@pytest.mark.parametrize("kind", KINDS)
def test_a_film_is_read_back_with_its_frames_and_delays(tmp_path: Path, kind: str) -> None:
    if kind == "mp4":
        pytest.importorskip("av")
    draw = np.random.default_rng(0)
    pictures = [Image.fromarray(np.kron(draw.integers(0, 256, (3, 5), np.uint8), np.ones((4, 4), np.uint8))) for _ in range(5)]
    path = films.write(pictures, tmp_path / "film", Film(kind, 40, 120), json.dumps({KEY: "weights"}))
    shown, delays = frames_of(path)
    held = 3 if kind == "mp4" else 0
    assert len(shown) == 5 + held and delays[:4] == pytest.approx([40] * 4)
    assert held or delays[4] == 160
    for one, picture in zip(shown, pictures, strict=False):
        assert max(one.shape) >= films.SMALL > max(picture.size), "enlarged by a whole factor"
        small = np.asarray(picture.resize((one.shape[1], one.shape[0]), Image.Resampling.NEAREST), dtype=float)
        assert np.abs(one - small).mean() < (3 if kind == "mp4" else 0.6)


def test_a_tour_begins_at_its_seed_and_closes(run: Path) -> None:
    model = load(run, overrides=QUICK)
    tour = Tour(model, [3, 5, 8], [{"label": 2}], loop=True)
    frames = tour.frames(12)
    torch.testing.assert_close(frames[:1], model.sample(seeds=[3], cond={"label": 2}).clamp(-1, 1), rtol=0, atol=0)
    assert torch.equal(tour._at(torch.tensor([0.0]).double()), tour._at(torch.tensor([1.0]).double())), "1 is 0 again"
    assert unevenness(frames, closed=True) <= 2
    assert moved(frames, closed=True)[-1] <= 2 * moved(frames).mean(), "from the last to the first as between any others"
    ends = Tour(model, [3, 5], [{"label": 2}]).frames(4)
    torch.testing.assert_close(ends[-1:], model.sample(seeds=[5], cond={"label": 2}).clamp(-1, 1), rtol=0, atol=0)


def test_between_classes_both_ends_are_the_classes(run: Path) -> None:
    model = load(run, overrides=QUICK)
    frames = Tour(model, [4], [{"label": 1}, {"label": 7}, {}]).frames(9)
    for k, cond in ((0, {"label": 1}), (-1, {})):
        torch.testing.assert_close(frames[k], model.sample(seeds=[4], cond=cond)[0].clamp(-1, 1))
    assert unevenness(frames) <= 2 and moved(frames).min() > 0


def test_a_blend_of_two_conditions_is_the_geometric_mean_of_their_laws() -> None:
    means, spread = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.eye(2).expand(2, 2, 2) * 0.3
    exact = Mixture(VP(), torch.ones(2), means, spread, classes=[0, 1])
    x, share = torch.randn(3, 2, dtype=torch.float64), torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    first, second = ({"label": torch.full((3,), i)} for i in (0, 1))
    blended = Blended(exact, second, share).begin()
    answer = blended.answer(x, 0.4, first)
    between = torch.lerp(means[0].double().expand(3, 2), means[1].double(), share[:, None])  # normal laws of equal spread
    for row in range(3):
        alone = Mixture(VP(), torch.ones(1), between[row : row + 1], spread[:1])(x[row : row + 1], 0.4)
        torch.testing.assert_close(answer.x0[row : row + 1], alone)
    assert answer.nfe == 2


def test_a_zoom_is_a_crop_of_the_last_frame_painted_anew(run: Path) -> None:
    frames = zoom(load(run, overrides=QUICK), 1, {}, 4, 1.2, 0.05)
    again = zoom(load(run, overrides=QUICK), 1, {}, 4, 1.2, 0.05)
    wild = zoom(load(run, overrides=QUICK), 1, {}, 2, 1.2, 0.9)
    assert torch.equal(frames, again)
    near = torch.nn.functional.interpolate(frames[:1, :, 1:7, 1:7], size=(8, 8), mode="bicubic").clamp(-1, 1)
    assert (frames[1:2] - near).abs().mean() < 0.5 * (wild[1:2] - near).abs().mean()


@pytest.mark.parametrize("kind", ["gif", "apng"])
def test_a_walk_is_shown_from_noise_to_picture(run: Path, tmp_path: Path, kind: str) -> None:
    found = made(run, Animation(walk=True, film=Film(kind)), tmp_path, seeds=[2, 3], cond={"label": 1})
    shown, delays = frames_of(found.path)
    assert len(shown) == found.frames == 6 and delays[0] == 80 and delays[-1] == 1080
    last = shown[-1]
    half = (last.shape[1] - 8) // 2  # between them a gap of 8 pixels
    assert np.abs(last[:, :half] - last[:, -half:]).mean() < 2, "at its end the state is what is believed"
    assert np.abs(shown[0][:, :half] - shown[0][:, -half:]).mean() > 20
    assert (tmp_path / "sheet.png").is_file()


def test_films_say_how_they_were_made(run: Path, tmp_path: Path) -> None:
    found = made(run, Animation(3, through={"label": [1, 2]}, loop=True, film=Film("apng")), tmp_path, seeds=[7])
    told = json.loads(Image.open(found.path).text[KEY])  # type: ignore[attr-defined]
    assert told["seeds"] == [7] and told["animation"]["through"] == {"label": [1, 2]} and len(told["weights"]) == 64
    with pytest.raises(ValueError, match="unnoise animate"):
        reproduce(found.path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Animation(1), "at least 2"),
        (lambda: Animation(zoom=1.1, walk=True), "one of them"),
        (lambda: Animation(walk=True, loop=True), "do not come back"),
        (lambda: Animation(through={"label": [1]}), "two values"),
        (lambda: Film("avi"), "expected gif"),
        (lambda: Film("gif", 5), "10 ms"),
    ],
)
def test_what_cannot_be_filmed(make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()  # type: ignore[operator]


def test_a_run_that_cannot_travel_says_so(run: Path, tmp_path: Path) -> None:
    for wish, said in (
        (Animation(), "two seeds"),
        (Animation(through={"size": [1, 2]}), "size"),
        (Animation(zoom=0.9), "above 1"),
    ):
        with pytest.raises(ValueError, match=said):
            made(run, wish, tmp_path)


def test_mp4_without_its_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"unnoise\[movie\]"):
        Film("mp4")


def test_the_great_circle_keeps_length_and_pace_is_evened() -> None:
    a, b = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = torch.linspace(0, 1, 9, dtype=torch.float64)
    way = slerp(a, b, share)
    torch.testing.assert_close(way[0], a)
    torch.testing.assert_close(way[-1], b)
    assert (way.flatten(1).norm(dim=1) / 64 - 1).abs().max() < 0.03
    steps = share[1:] ** 3 - share[:-1] ** 3  # a way that hurries at its end
    again = paced(share, steps) ** 3
    assert again.diff().max() / again.diff().mean() < 1.3 < steps.max() / steps.mean()
    closed = even(lambda u: torch.stack([(2 * torch.pi * u**2).cos(), (2 * torch.pi * u**2).sin()], 1), 24, closed=True)
    assert unevenness(closed, closed=True) < 1.3
