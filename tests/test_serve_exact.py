"""Under load the same bytes as alone: whatever is computed beside a sample, and however it was asked for."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from serving import Running, run_of, running

from unnoise.model import load
from unnoise.serve.models import samplers
from unnoise.task.sample import Order, sample

ASKS: list[dict[str, Any]] = [
    {},
    {"steps": 7},
    {"sampler": "DDIM", "sampler_options": {"eta": 0.7}},
    {"sampler": "Ancestral", "steps": 5},
    {"sampler": "Heun", "steps": 3},
    {"cond": {"label": "3"}},
    {"cond": {"label": "7"}, "scale": 2.5},
    {"cond": {"label": None}},
    {"scale": 1.5, "interval": [0.2, 5.0]},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("serve")
    with running([run_of("digits", folder / "digits"), run_of("classifier-digits", folder / "judge")], folder) as one:
        yield one


def made(client: httpx.Client, asked: dict[str, Any]) -> list[bytes]:
    answer = client.post("/v1/sample", json={"model": "digits", **asked})
    assert answer.status_code == 200, answer.text
    return [client.get(image["url"]).content for image in answer.json()["images"]]


def by_command(server: Running, asked: dict[str, Any], seeds: list[int], out: Path) -> list[bytes]:
    """The files of `unnoise sample` with the same options."""
    changes = [f"sampler={asked['sampler']}"] if "sampler" in asked else []
    changes += [f"sampler.{asked['sampler']}.{k}={v}" for k, v in asked.get("sampler_options", {}).items()]
    changes += [f"model.Defaults.steps={asked['steps']}"] if "steps" in asked else []
    changes += [f"guidance.CFG.{key}={asked[key]}" for key in ("scale", "interval") if key in asked]
    run = server.service.desk.models.served["digits"].folder
    sample(run, Order(seeds, asked.get("cond"), changes, device="cpu", threads=1), out)
    return [(out / f"{seed}.png").read_bytes() for seed in seeds]


def test_unlike_requests_together_give_the_bytes_of_each_alone(server: Running, tmp_path: Path) -> None:
    """Every kind of request, many at a time, in batches of 1 to 8; the command line says what each should be."""
    expected = {}
    for i, asked in enumerate(ASKS):
        seeds = list(range(10 * i, 10 * i + 8))
        files = by_command(server, asked, seeds, tmp_path / str(i))
        expected |= {(i, seed): file for seed, file in zip(seeds, files, strict=True)}
    wanted = [(i, seeds) for i in range(len(ASKS)) for seeds in _split(list(range(10 * i, 10 * i + 8)), i)]
    random.Random(3).shuffle(wanted)
    before = server.service.desk.engine.counts.batches
    with server.client() as client, ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda one: made(client, {**ASKS[one[0]], "seeds": one[1]}), wanted))
    for (i, seeds), files in zip(wanted, found, strict=True):
        for seed, file in zip(seeds, files, strict=True):
            assert hashlib.sha256(file).digest() == hashlib.sha256(expected[i, seed]).digest(), (ASKS[i], seed)
    counts = server.service.desk.engine.counts
    assert counts.batches - before < sum(4 * len(seeds) for _, seeds in wanted), "they were not computed together"


@pytest.mark.parametrize("name", sorted(samplers()))
def test_every_sampler_is_the_same_in_company(server: Running, name: str) -> None:
    """By being listed: two walks of it and a stranger, against the model alone."""
    served = server.service.desk.models.served["digits"]
    model = served.variant([f"sampler={name}"]).model
    steps = 2 if name in ("AnnealedLangevin", "PredictorCorrector") else 4
    alone = model.sample(seeds=[5, 6, 9], steps=steps, cond={"label": [1, 2, 3]})
    asks = [
        {"seeds": [5, 6], "cond": {"label": [1, 2]}, "sampler": name, "steps": steps, "format": "npy"},
        {"seeds": [9], "cond": {"label": 3}, "sampler": name, "steps": steps, "format": "npy"},
        {"seeds": [40, 41, 42]},
    ]
    with server.client() as client, ThreadPoolExecutor(3) as pool:
        both, one, _ = pool.map(lambda asked: client.post("/v1/sample", json={"model": "digits", **asked}).json(), asks)
        arrays = [array(client, image["array"]) for image in (*both["images"], *one["images"])]
    assert all(torch.equal(a, b) for a, b in zip(alone, arrays, strict=True))


def test_a_walk_with_gradients_is_the_same_too(server: Running) -> None:
    """A classifier's gradient: the request takes batches of its own, between those of others."""
    run = server.service.desk.models.served["digits"].folder
    judge = server.service.desk.models.served["judge"].folder
    model = load(run, overrides=[f"guidance.Classifier.run={str(judge)!r}", "guidance.Classifier.scale=3.0"])
    alone = model.sample(seeds=[1, 2, 3], cond={"label": 4})
    asked = {"model": "digits", "seeds": [1, 2, 3], "cond": {"label": "4"}, "classifier": "judge", "scale": 3, "format": "npy"}
    with server.client() as client, ThreadPoolExecutor(4) as pool:
        strangers = [pool.submit(made, client, {"seed": 100 + i, "n": 3}) for i in range(3)]
        answer = client.post("/v1/sample", json=asked).json()
        arrays = [array(client, image["array"]) for image in answer["images"]]
        assert all(len(one.result()) == 3 for one in strangers)
    assert all(torch.equal(a, b) for a, b in zip(alone, arrays, strict=True))


def test_more_rows_than_a_batch_has_places(server: Running, tmp_path: Path) -> None:
    """A request of 16 for a model whose batches have 8: answered in parts, and the same."""
    seeds = list(range(200, 216))
    with server.client() as client:
        assert made(client, {"seeds": seeds, "scale": 2}) == by_command(server, {"scale": 2.0}, seeds, tmp_path)


def test_the_command_that_is_told_makes_the_same_file(server: Running, tmp_path: Path) -> None:
    import shlex
    import subprocess
    import sys

    with server.client() as client:
        asked = {"seeds": [11, 12], "cond": {"label": "6"}, "sampler": "DDIM", "sampler_options": {"eta": 0.3}, "scale": 1.5}
        answer = client.post("/v1/sample", json={"model": "digits", **asked}).json()
        files = [client.get(image["url"]).content for image in answer["images"]]
    words = shlex.split(answer["command"])
    run = server.service.desk.models.served["digits"].folder
    assert words[:3] == ["unnoise", "sample", "digits"]
    line = [sys.executable, "-m", "unnoise", *words[1:], "--out", str(tmp_path), "--device", "cpu"]
    subprocess.run(line, cwd=run.parent, check=True, capture_output=True)
    assert [(tmp_path / f"{seed}.png").read_bytes() for seed in (11, 12)] == files


def array(client: httpx.Client, url: str) -> torch.Tensor:
    import io

    import numpy as np

    return torch.from_numpy(np.load(io.BytesIO(client.get(url).content), allow_pickle=False))


def _split(seeds: list[int], i: int) -> list[list[int]]:
    """Eight seeds as requests of 1, of 2, of 3 and of 8 in turn."""
    n = (1, 2, 3, 8)[i % 4]
    return [seeds[k : k + n] for k in range(0, len(seeds), n)]
