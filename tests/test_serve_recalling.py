"""A model that recalls its earlier answers, served: each request's own, whatever walks beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving import run_of, running

from unnoise.task.sample import Order, sample


def test_requests_recall_their_own_answers(tmp_path: Path) -> None:
    asks = [
        {"steps": steps, "seeds": [seed, seed + 1][:count]}
        for seed, steps, count in ((1, 4, 1), (20, 6, 2), (30, 6, 1), (40, 5, 2))
    ]
    run, expected = run_of("digits", tmp_path / "digits", "denoiser=SelfConditioned"), []
    for i, asked in enumerate(asks):
        sample(
            run,
            Order(asked["seeds"], None, [f"model.Defaults.steps={asked['steps']}"], device="cpu", threads=1),
            tmp_path / str(i),
        )
        expected.append([(tmp_path / str(i) / f"{seed}.png").read_bytes() for seed in asked["seeds"]])
    with running([run], tmp_path) as server, server.client() as client, ThreadPoolExecutor(4) as pool:
        facts = client.get("/v1/models").json()
        assert "estimate" not in str(facts)

        def made(asked: dict) -> list[bytes]:
            answer = client.post("/v1/sample", json={"model": "digits", **asked})
            assert answer.status_code == 200, answer.text
            return [client.get(image["url"]).content for image in answer.json()["images"]]

        assert list(pool.map(made, asks)) == expected
