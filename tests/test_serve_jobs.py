"""Jobs: watched, cancelled, given up, refused when there are too many, shared fairly, and not lost when the server stops."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Running, run_of, running

from unnoise.serve import sampling
from unnoise.serve.jobs import Watcher
from unnoise.serve.limits import LIMITS

LONG = {"steps": 1000, "sampler": "DDIM"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of("digits", tmp_path_factory.mktemp("serve") / "digits")


@pytest.fixture(scope="module")
def server(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = replace(LIMITS, queue=4, queue_client=4, active=2, abandoned_seconds=0.3)
    with running([run], tmp_path_factory.mktemp("tokens"), limits) as one:
        yield one


def begun(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/sample", json={"wait": False, **body})
    assert answer.status_code == 202, answer.text
    return answer.json()


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def events(client: httpx.Client, id_: str, most: int = 10_000) -> Iterator[tuple[str, Any]]:
    with client.stream("GET", f"/v1/jobs/{id_}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])
                most -= 1
                if not most:
                    return


def status(client: httpx.Client, job: dict[str, Any]) -> str:
    return client.get(f"/v1/jobs/{job['id']}").json()["status"]


def idle(server: Running) -> bool:
    return not server.service.desk.engine.active and not server.service.desk.line.waiting


def test_a_job_tells_of_itself_until_its_result(server: Running) -> None:
    with server.client() as client:
        job = begun(client, n=2, steps=6, inside=True)
        told = list(events(client, job["id"]))
        names = [name for name, _ in told]
        assert names[0] == "state" and names[-1] == "result" and {"progress", "preview"} <= set(names)
        shown = next(data for name, data in told if name == "preview")
        assert shown["n"] == 2 and shown["x0"] and shown["x"] and shown["eps"] and 0 <= shown["t"] <= 1
        steps = [data["step"] for name, data in told if name == "progress"]
        assert steps == sorted(steps) and steps[-1] == 6
        result = told[-1][1]
        assert [image["seed"] for image in result["images"]] == [0, 1]
        after = client.get(f"/v1/jobs/{job['id']}").json()
        assert after["status"] == "done" and after["result"] == result
        assert [name for name, _ in events(client, job["id"])][-1] == "result"  # to one who comes late, too
        assert job["id"] in [one["id"] for one in client.get("/v1/jobs").json()["data"]]


def test_a_cancelled_job_stops_within_one_evaluation(server: Running) -> None:
    engine = server.service.desk.engine
    with server.client() as client:
        job = begun(client, **LONG)
        until(lambda: status(client, job) == "running")
        before = engine.counts.batches
        client.delete(f"/v1/jobs/{job['id']}")
        at_cancel = engine.counts.batches
        until(lambda: status(client, job) == "cancelled")
        until(lambda: idle(server))
        assert engine.counts.batches - at_cancel <= 1 < 1000 - before
        assert list(events(client, job["id"]))[-1][0] == "cancelled"


def test_a_client_who_hangs_up_costs_no_more(server: Running) -> None:
    def ask() -> None:
        with server.client() as client, pytest.raises(httpx.ReadTimeout):
            client.post("/v1/sample", json=LONG, timeout=1.0)

    ask()
    until(lambda: idle(server), 5)
    with server.client() as client:  # nor one who watched and left
        job = begun(client, **LONG)
        for _ in events(client, job["id"], 2):
            pass
        until(lambda: status(client, job) == "cancelled", 10)
        kept = begun(client, **LONG, detached=True)
        for _ in events(client, kept["id"], 2):
            pass
        time.sleep(1)
        assert status(client, kept) == "running"
        client.delete(f"/v1/jobs/{kept['id']}")
        until(lambda: idle(server))


def test_the_line_is_bounded_and_says_when_to_come_again(server: Running) -> None:
    desk = server.service.desk
    with server.client() as client, server.client(**{"x-client": "another"}) as other:
        jobs = [begun(client, **LONG) for _ in range(2)]
        until(lambda: [status(client, job) for job in jobs] == ["running"] * 2)
        jobs += [begun(client, **LONG) for _ in range(4)]  # in the line
        until(lambda: len(desk.line.waiting) == 4)
        began = time.perf_counter()
        answer = other.post("/v1/sample", json={"steps": 2})
        seconds = time.perf_counter() - began
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["retry_after"] >= 1 and seconds < 5
        assert [client.get(f"/v1/jobs/{job['id']}").json()["position"] for job in jobs] == [None, None, 0, 1, 2, 3]
        for job in jobs:
            client.delete(f"/v1/jobs/{job['id']}")
        until(lambda: idle(server))
        assert desk.line.most <= desk.limits.queue
        assert other.post("/v1/sample", json={"steps": 2}).status_code == 200


def test_who_is_refused_costs_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place in the line is taken before its job is made: whoever comes meanwhile is refused, and nothing is made for him."""
    making, go, made = threading.Event(), threading.Event(), sampling.sample
    calls = []

    def slow(*given: Any) -> Any:
        calls.append(given)
        making.set()
        assert go.wait(60)
        return made(*given)

    monkeypatch.setattr(sampling, "sample", slow)
    with running([run], tmp_path, replace(LIMITS, queue=1)) as server, server.client() as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/sample", json={"steps": 1})
        assert making.wait(60)
        assert client.post("/v1/sample", json={"steps": 1}).status_code == 429
        go.set()
        assert first.result().status_code == 200
        assert client.post("/v1/sample", json={"steps": 1}).status_code == 200
    assert len(calls) == 2


def test_who_waits_is_woken_by_the_end_alone(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event for a result, however many steps there are; who watches hears of each."""
    put, heard = Watcher.put, list[str]()

    def noted(self: Watcher, event: str, data: Any) -> None:
        heard.append(event)
        put(self, event, data)

    monkeypatch.setattr(Watcher, "put", noted)
    with server.client() as client:
        assert client.post("/v1/sample", json={"steps": 6}).status_code == 200
        assert heard == ["result"]
        assert client.post("/v1/sample", json={"steps": 0}).status_code == 422
        list(events(client, begun(client, steps=6)["id"]))
    assert heard.count("result") == 2


def test_one_client_may_not_fill_the_line(run: Path, tmp_path: Path) -> None:
    limits = replace(LIMITS, queue=4, queue_client=2, active=1)
    with running([run], tmp_path, limits) as server, server.client() as greedy, server.client(**{"x-client": "another"}) as other:
        jobs = [begun(greedy, **LONG)]
        until(lambda: status(greedy, jobs[0]) == "running")
        jobs += [begun(greedy, **LONG) for _ in range(2)]
        assert greedy.post("/v1/sample", json={}).status_code == 429
        assert begun(other, **LONG)["status"] == "queued"
        for job in (*jobs, *other.get("/v1/jobs").json()["data"]):
            server.service.desk.stop(server.service.desk.jobs.known[job["id"]])


def test_shares_are_fair_whatever_each_asks_for(run: Path, tmp_path: Path) -> None:
    """One asks for 8 at a time in eight threads, three for 2 in two: no one gets above twice the fair share of the machine."""
    with running([run], tmp_path, replace(LIMITS, active=8), batch=4) as server:
        end = threading.Event()

        def ask(who: str, body: dict[str, Any]) -> None:
            with server.client(**{"x-client": who}) as client:
                while not end.is_set():
                    client.post("/v1/sample", json=body)

        with ThreadPoolExecutor(14) as pool:
            for _ in range(8):
                pool.submit(ask, "greedy", {"n": 8, "steps": 4})
            for who in "abc":
                for _ in range(2):
                    pool.submit(ask, who, {"n": 2, "steps": 4})
            shares = server.service.desk.line.shares
            until(lambda: sum(list(shares.clients.values())) > 3, 120)
            found = {client.who: seconds for client, seconds in list(shares.clients.items())}
            end.set()
    total = sum(found.values())
    assert set(found) == {"greedy", "a", "b", "c"}
    assert max(found.values()) <= 2 * total / 4, found


def test_deadlines_end_what_takes_too_long(run: Path, tmp_path: Path) -> None:
    with (
        running([run], tmp_path, replace(LIMITS, job_seconds=0.5, queue_seconds=0.2, active=1)) as server,
        server.client() as client,
    ):
        first = begun(client, **LONG)
        second = begun(client, **LONG)
        until(lambda: status(client, first) == "failed" and status(client, second) == "failed", 20)
        for job in (first, second):
            assert client.get(f"/v1/jobs/{job['id']}").json()["error"]["code"] == 504
        assert client.post("/v1/sample", json={"steps": 1}).status_code == 200


def test_results_are_kept_for_a_while_only(run: Path, tmp_path: Path) -> None:
    with running([run], tmp_path, replace(LIMITS, keep_seconds=0.4)) as server, server.client() as client:
        answer = client.post("/v1/sample", json={"steps": 1}).json()
        assert client.get(answer["images"][0]["url"]).status_code == 200
        time.sleep(1.5)
        assert client.get(answer["images"][0]["url"]).status_code == 404
        assert client.get(f"/v1/jobs/{answer['id']}").status_code == 404
    with running([run], tmp_path, replace(LIMITS, keep_bytes=2000)) as server, server.client() as client:
        urls = [client.post("/v1/sample", json={"steps": 1}).json()["images"][0]["url"] for _ in range(6)]
        assert client.get(urls[0]).status_code == 404 and client.get(urls[-1]).status_code == 200
        assert server.service.desk.store.bytes <= 2000


def test_a_stop_finishes_what_is_at_work_and_refuses_the_rest(run: Path, tmp_path: Path) -> None:
    with running([run], tmp_path, replace(LIMITS, active=1)) as server, server.client() as client, ThreadPoolExecutor(3) as pool:
        work = pool.submit(client.post, "/v1/sample", json={"steps": 60, "sampler": "DDIM"})
        until(lambda: len(server.service.desk.engine.active) == 1)
        waits = pool.submit(client.post, "/v1/sample", json={"steps": 2})
        until(lambda: len(server.service.desk.line.waiting) == 1)
        server.server.handle_exit(15, None)
        assert work.result().status_code == 200
        assert waits.result().status_code == 503
        server.thread.join(20)
        assert not server.thread.is_alive() and not server.service.desk.engine.is_alive()


def test_a_failing_request_takes_nobody_with_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that fails once: that request has a 500 without a trace; the next is served, and the same as ever."""
    with running([run], tmp_path) as server, server.client() as client:
        before = client.get(client.post("/v1/sample", json={"seed": 3}).json()["images"][0]["url"]).content
        network = server.service.desk.models.served["digits"].model.denoiser.network  # type: ignore[union-attr]
        right = network.forward

        def wrong(*_: Any) -> None:
            network.forward = right
            raise RuntimeError("no such luck at /tmp/secret/place")

        network.forward = wrong
        answer = client.post("/v1/sample", json={"seed": 3})
        assert answer.status_code == 500 and "luck" not in answer.text and "/tmp" not in answer.text
        after = client.get(client.post("/v1/sample", json={"seed": 3}).json()["images"][0]["url"]).content
    assert before == after


def test_health_is_quick_while_it_samples(server: Running) -> None:
    with server.client() as client:
        job = begun(client, **LONG)
        until(lambda: status(client, job) == "running")
        for _ in range(20):
            assert client.get("/healthz").text == "ok"
        assert client.get("/readyz").json() == {"ready": True}
        metrics = client.get("/metrics").text
        assert "unnoise_working 1.0" in metrics and "unnoise_requests_total" in metrics
        client.delete(f"/v1/jobs/{job['id']}")
        until(lambda: idle(server))
