"""Everything else that is asked for over HTTP: what is made of pictures, likelihoods, and OpenAI's routes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import TOKEN, Running, run_of, running

from unnoise.task.edit import Wish, edit
from unnoise.task.sample import Order


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("serve")
    runs = [run_of("digits", folder / "digits"), run_of("points", folder / "points")]
    with running(runs, folder) as one:
        yield one


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


DIGIT = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
HOLE = np.kron(np.array([[0, 255], [0, 0]]), np.ones((4, 4))).astype(np.uint8)


def upload(client: httpx.Client, pixels: np.ndarray, kind: str = "PNG") -> str:
    answer = client.post("/v1/pictures", content=png(pixels, kind), headers={"content-type": f"image/{kind.lower()}"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def ask(client: httpx.Client, task: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/{task}", json={"model": "digits", "steps": 4, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


EDITS: dict[str, tuple[str, dict[str, Any], Wish]] = {
    "inpaint": ("inpaint", {}, Wish("inpaint", "mask", n=3)),
    "upscale": ("upscale", {"factor": 2}, Wish("upscale", 2, n=3)),
    "vary": ("vary", {"strength": 0.5}, Wish("vary", 0.5, n=3)),
    "denoise": ("restore", {"damage": {"kind": "denoise"}}, Wish("denoise", n=3)),
    "deblur": ("restore", {"damage": {"kind": "deblur", "std": 1.0}}, Wish("restore", "deblur:gaussian:1", n=3)),
    "jpeg": ("restore", {"damage": {"kind": "jpeg", "quality": 30}, "noise": 2}, Wish("restore", "jpeg:30", noise=2, n=3)),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_are_those_of_the_command_line(server: Running, tmp_path: Path, name: str) -> None:
    task, body, wish = EDITS[name]
    with server.client() as client:
        picture = upload(client, DIGIT)
        (tmp_path / "picture.png").write_bytes(client.get(f"/v1/pictures/{picture}").content)
        if task == "inpaint":
            mask = upload(client, HOLE)
            (tmp_path / "mask.png").write_bytes(client.get(f"/v1/pictures/{mask}").content)
            body, wish = {"mask": mask}, Wish("inpaint", tmp_path / "mask.png", n=3)
        answer = ask(client, task, picture=picture, n=3, seed=7, cond={"label": "3"}, **body)
        files = [client.get(image["url"]).content for image in answer["images"]]
    run = server.service.desk.models.served["digits"].folder
    order = Order([7], {"label": "3"}, ["model.Defaults.steps=4"], "cpu", threads=1)
    (done,) = edit(run, [tmp_path / "picture.png"], wish, order, tmp_path / "out")
    for file, path in zip(files, done.paths, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), np.asarray(Image.open(path)))
        ours, theirs = (json.loads(Image.open(io.BytesIO(f)).text["unnoise"]) for f in (file, path.read_bytes()))  # type: ignore[attr-defined]
        for told in (ours, theirs):
            told["edit"].pop("value")  # of a mask the command line tells its path; a server has none
        assert ours == theirs
    assert answer["command"].startswith("unnoise edit digits picture.png --")


def test_inpainting_keeps_what_is_black_in_the_mask(server: Running) -> None:
    with server.client() as client:
        answer = ask(client, "inpaint", picture=upload(client, DIGIT), mask=upload(client, HOLE), n=1)
        made = np.asarray(Image.open(io.BytesIO(client.get(answer["images"][0]["url"]).content)))
    assert np.array_equal(made[HOLE == 0], DIGIT[HOLE == 0])
    assert not np.array_equal(made[HOLE > 0], DIGIT[HOLE > 0])


def test_interpolation_goes_from_one_to_the_other(server: Running) -> None:
    with server.client() as client:
        ends = [upload(client, DIGIT), upload(client, DIGIT[::-1].copy())]
        answer = ask(client, "interpolate", pictures=ends, frames=5, steps=10)
        assert len(answer["images"]) == 5
        frames = [np.asarray(Image.open(io.BytesIO(client.get(i["url"]).content))).astype(int) for i in answer["images"]]
        job = client.post(
            "/v1/interpolate", json={"model": "digits", "pictures": ends, "frames": 5, "steps": 40, "wait": False}
        ).json()
        with client.stream("GET", f"/v1/jobs/{job['id']}/events") as told:
            events = [line[7:] for line in told.iter_lines() if line.startswith("event: ")]
    assert abs(frames[0] - DIGIT).mean() < abs(frames[-1] - DIGIT).mean()
    assert {"preview", "progress"} <= set(events) and events[-1] == "result"


@pytest.mark.parametrize("method", ["flow", "bound"])
def test_likelihood_of_a_picture(server: Running, method: str) -> None:
    with server.client() as client:
        told = ask(client, "likelihood", picture=upload(client, DIGIT), method=method)["likelihood"]
        again = ask(client, "likelihood", picture=upload(client, DIGIT), method=method)["likelihood"]
    assert told == again
    assert told["method"] == method and np.isfinite(told["bits_per_dim"])
    assert told["nats_per_dim"] == pytest.approx(told["bits_per_dim"] * np.log(2), abs=1e-4)


def test_samples_that_are_no_pictures_are_arrays(server: Running) -> None:
    with server.client() as client:
        answer = client.post("/v1/sample", json={"model": "points", "n": 3}).json()
        x = [np.load(io.BytesIO(client.get(image["array"]).content)) for image in answer["images"]]
        refused = client.post("/v1/sample", json={"model": "points", "format": "png"})
        none = client.post("/v1/vary", json={"model": "points", "picture": "a" * 26, "strength": 0.5})
    assert [one.shape for one in x] == [(2,)] * 3 and refused.status_code == 422 and none.status_code == 422


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_uploads_are_kept_as_pixels_alone(server: Running, kind: str) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(colour).save(file, kind, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0" if kind in ("JPEG", "WEBP") else b"")
    with server.client() as client:
        answer = client.post("/v1/pictures", content=file.getvalue(), headers={"content-type": f"image/{kind.lower()}"})
        assert answer.status_code == 201, answer.text
        assert (answer.json()["width"], answer.json()["height"]) == (7, 9)
        again = client.get(f"/v1/pictures/{answer.json()['id']}")
    kept = Image.open(io.BytesIO(again.content))
    assert kept.format == "PNG" and not kept.getexif() and not kept.info
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    assert np.array_equal(np.asarray(kept), expected)


def test_what_is_no_picture_is_refused(server: Running) -> None:
    whole = png(DIGIT)
    bomb = whole[:16] + (60_000).to_bytes(4, "big") * 2 + whole[24:]
    wrong = [
        (b"", "image/png", 415),
        (b"not a picture", "image/png", 415),
        (whole, "image/jpeg", 415),
        (whole[:40], "image/png", 422),
        (bomb, "image/png", 422),
        (b"GIF89a" + bytes(20), "image/gif", 415),
        (b"<svg/>", "image/svg+xml", 415),
    ]
    with server.client() as client:
        for content, type_, status in wrong:
            answer = client.post("/v1/pictures", content=content, headers={"content-type": type_})
            assert answer.status_code == status, (content[:10], type_, answer.text)
            assert "error" in answer.json()


def test_openai_clients_work(server: Running) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0)
    made = client.images.generate(model="digits", prompt="3", n=2, response_format="b64_json")
    pictures = [Image.open(io.BytesIO(base64.b64decode(one.b64_json))) for one in made.data]
    assert [one.size for one in pictures] == [(8, 8)] * 2
    assert json.loads(pictures[0].text["unnoise"])["cond"] == {"label": "3"}  # type: ignore[attr-defined]
    hole = np.dstack([np.zeros((8, 8, 3), np.uint8), 255 - HOLE])
    edited = client.images.edit(model="digits", image=("a.png", png(DIGIT)), mask=("m.png", png(hole)), prompt="3", n=1)
    again = np.asarray(Image.open(io.BytesIO(base64.b64decode(edited.data[0].b64_json))))
    assert np.array_equal(again[HOLE == 0], DIGIT[HOLE == 0])
    with pytest.raises(openai.UnprocessableEntityError, match="expected a class"):
        client.images.generate(model="digits", prompt="a horse on the moon")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0).models.list()
    assert {one.id for one in client.models.list()} == {"digits", "points"}


def test_several_models_under_a_limit_of_memory(tmp_path: Path) -> None:
    """Room for one: each is read again when it is asked for, and gives the same."""
    runs = [run_of("digits", tmp_path / "a"), run_of("points", tmp_path / "b")]
    with running(runs, tmp_path, memory=1) as server, server.client() as client:
        found: dict[str, set[str]] = {"a": set(), "b": set()}
        for name in "abab":
            answer = client.post("/v1/sample", json={"model": name, "format": "npy"}).json()
            found[name].add(client.get(answer["images"][0]["array"]).content.hex())
            assert {m["id"]: m["loaded"] for m in client.get("/v1/models").json()["data"]} == {n: n == name for n in "ab"}
        assert [len(values) for values in found.values()] == [1, 1]
