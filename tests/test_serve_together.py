"""Requests that sample alike walk together: as one walk, with each one's own bytes, and free to leave it."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import torch
from serving import Running, run_of, running

from unnoise.serve import together
from unnoise.serve.jobs import ENDS

STEPS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("serve")
    with running([run_of("digits", folder / "digits")], folder) as one:
        yield one


class Gate:
    """Holds the network at a batch of one's choice, so that requests can come meanwhile."""

    def __init__(self, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        served = server.service.desk.models.served["digits"]
        assert served.model is not None
        self.network: Any = served.model.denoiser.network
        self.open, self.inside, self.rows = threading.Event(), threading.Event(), list[set[float]]()
        right = self.network.forward

        def held(x: torch.Tensor, level: torch.Tensor, cond: Any) -> torch.Tensor:
            self.rows.append({round(float(row.sum()), 4) for row in x})
            self.inside.set()
            assert self.open.wait(60)
            return right(x, level, cond)

        monkeypatch.setattr(self.network, "forward", held)


def ask(client: httpx.Client, seeds: list[int], **more: Any) -> Any:
    """A job at once, of requests that are alike but for their seeds and classes."""
    answer = client.post("/v1/sample", json={"seeds": seeds, "steps": STEPS, "wait": False, **more})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def ended(server: Running, *ids: str) -> list[dict[str, Any]]:
    jobs = [server.service.desk.jobs.known[one] for one in ids]
    done = threading.Event()
    for _ in range(6000):
        if all(job.status in ENDS for job in jobs):
            return [job.json() for job in jobs]
        done.wait(0.01)
    raise AssertionError("they did not end")


def digests(job: dict[str, Any]) -> list[str]:
    assert job["status"] == "done", job["error"]
    return [image["sha256"] for image in job["result"]["images"]]


def test_requests_that_sample_alike_are_one_walk(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five requests of two kinds that wait for a batch: two walks; each has what it has alone."""
    asked: list[tuple[list[int], dict[str, Any]]] = [
        ([1], {}),
        ([2, 3], {"cond": {"label": "3"}}),
        ([4], {}),
        ([5], {"scale": 2.0}),
        ([6, 7], {"scale": 2.0, "cond": {"label": ["4", None]}}),
    ]
    with server.client() as client:
        alone = [digests(ended(server, ask(client, seeds, **more))[0]) for seeds, more in asked]
        sizes: list[int] = []
        init = together.Together.__init__

        def counted(self: together.Together, jobs: Any) -> None:
            sizes.append(len(jobs))
            init(self, jobs)

        monkeypatch.setattr(together.Together, "__init__", counted)
        gate = Gate(server, monkeypatch)
        first = ask(client, [100])
        assert gate.inside.wait(60)
        ids = [ask(client, seeds, **more) for seeds, more in asked]
        gate.open.set()
        assert [digests(job) for job in ended(server, *ids)] == alone
        ended(server, first)
    assert sorted(sizes) == [1, 2, 3]


def test_one_who_leaves_is_no_longer_asked_about(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two in one walk: the other's bytes stay, and from the next batch on the network does not see his rows."""
    with server.client() as client:
        alone = digests(ended(server, ask(client, [11], sampler="DDIM"))[0])
        gate = Gate(server, monkeypatch)
        first = ask(client, [100], steps=1)
        assert gate.inside.wait(60)
        gate.rows.clear()
        leaves, stays = ask(client, [12, 13], sampler="DDIM"), ask(client, [11], sampler="DDIM")
        gate.open.set()
        while len(gate.rows) < 2:
            gate.inside.wait(0.01)
        client.delete(f"/v1/jobs/{leaves}")
        told = ended(server, first, leaves, stays)
    assert told[1]["status"] == "cancelled" and digests(told[2]) == alone
    seen = [len(rows) for rows in gate.rows]  # unlike rows of a batch; the last fills it up
    assert seen[0] == 3 and seen[-1] == 1 and len(seen) == STEPS


def test_who_is_remembered_holds_no_model(server: Running) -> None:
    """A job that has ended keeps its result alone: a model that had to make room is free when the last of its jobs is done."""
    with server.client() as client:
        id_ = ask(client, [31])
        part = weakref.ref(server.service.desk.jobs.known[id_].part or server)
        ended(server, id_)
        for _ in range(100):  # the threads that did it still leave their functions
            if part() is None:
                break
            time.sleep(0.02)
    assert part() is None or part() is server
    assert server.service.desk.jobs.known[id_].part is None


@pytest.mark.parametrize("where", ["network", "walk"])
def test_what_fails_takes_nobody_with_it(server: Running, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """One of three in a walk fails whenever it is there: the two others have what they have alone."""
    one, nine = {"cond": {"label": "1"}}, {"cond": {"label": "9"}}
    with server.client() as client:
        alone = [digests(ended(server, ask(client, [seed], **one))[0]) for seed in (21, 23)]
        gate = Gate(server, monkeypatch)
        first = ask(client, [100], **one)
        assert gate.inside.wait(60)
        ids = [ask(client, [21], **one), ask(client, [22], **nine), ask(client, [23], **one)]
        if where == "walk":
            part: Any = server.service.desk.jobs.known[ids[1]].part
            part.begin = fail
        else:
            held = gate.network.forward
            failing = lambda x, level, cond: fail() if (cond["label"] == 9).any() else held(x, level, cond)  # noqa: E731
            monkeypatch.setattr(gate.network, "forward", failing)
        gate.open.set()
        told = ended(server, *ids, first)
    assert told[1]["status"] == "failed" and told[1]["error"]["code"] == 500
    assert [digests(told[0]), digests(told[2])] == alone and told[3]["status"] == "done"


def fail(*_: Any) -> None:
    raise RuntimeError("no such luck")
