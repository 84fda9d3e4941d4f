"""`unnoise serve` under load, as a process of its own, on loopback.

`python -m benchmarks serve RUN [--parts=digests,load,...] [--seconds=60] [--clients=64] [--threads=N] [--steps=20] [--share=1]`

A share below 1 makes as many cases less of what is counted, to try whether it runs.

digests: 100 seeds alone, in requests of 2, 3 and 8, among strangers, and by the command line: equal sha256.
load: clients that ask for unlike samples as fast as they are answered, beside 100 sockets that send a byte a second; the sha256
    of every picture against that of its own made alone; accepted throughput, from the first request to the last answer, over that
    of the same work in full batches offline, with as many threads: the server's own choice, if not given.
peer: the same requests (plain ones) to FastAPI around a loop of diffusers, one at a time, with the equal network.
memory: what a server holds after 200 and after 1,200 requests, and after 500 that fail.
fuzz: 5,000 cases of schemathesis and 2,000 of broken HTTP: no 5xx, no trace or path, the same pictures afterwards.
stops: SIGTERM at 30 random moments of work: every request answered or refused, exit code 0.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import torch

from benchmarks._fuzz import broken, schemathesis
from benchmarks._serving import TOKEN, Process, exported_peer
from unnoise.model import load as load_run
from unnoise.serve.server import spare
from unnoise.task.sample import Order, sample, sampling_by

SLOW = 100  # sockets
OFFLINE = 2.0  # seconds at least that each kind is measured offline, before the load and after it
POOL = 24  # seeds of each kind of request whose pictures are known
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "class": {"cond": {"label": "3"}},
    "guided": {"cond": {"label": "7"}, "scale": 2.0},
    "ancestral": {"sampler": "Ancestral"},
    "ddim": {"sampler": "DDIM", "sampler_options": {"eta": 0.5}},
}


def overrides(asked: dict[str, Any], steps: int) -> list[str]:
    """A kind of request as `--set` says it."""
    found = [f"sampler={asked['sampler']}"] if "sampler" in asked else []
    found += [f"sampler.{asked['sampler']}.{key}={value}" for key, value in asked.get("sampler_options", {}).items()]
    found += [f"model.Defaults.steps={steps}"]
    return found + ([f"guidance.CFG.scale={asked['scale']}"] if "scale" in asked else [])


def alone(run: Path, threads: int, steps: int) -> dict[tuple[str, int], str]:
    """sha256 of the files of `unnoise sample`, by kind and seed."""
    found: dict[tuple[str, int], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, asked in KINDS.items():
            out = Path(folder, kind)
            sample(run, Order(range(POOL), asked.get("cond"), overrides(asked, steps), "cpu", threads=threads), out)
            found |= {(kind, seed): _digest((out / f"{seed}.png").read_bytes()) for seed in range(POOL)}
    return found


def offline(run: Path, threads: int, steps: int) -> dict[str, float]:
    """Seconds a sample of each kind takes in full batches."""
    torch.set_num_threads(threads)
    model, found = load_run(run), dict[str, float]()
    model.sample(model.defaults.batch, steps=2)
    for kind, asked in KINDS.items():
        changed = sampling_by(model, model.recipe.override(*overrides(asked, steps)))
        made, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < OFFLINE:
            changed.sample(changed.defaults.batch, cond=asked.get("cond"))
            made += changed.defaults.batch
        found[kind] = spent / made
    return found


def digests(run: Path, threads: int, share: float, **_: Any) -> dict[str, Any]:
    """How many of 600 pictures are the same as by the command line."""
    seeds, groups = list(range(1000, 1000 + round(100 * share))), {"alone": 1, "of 2": 2, "of 3": 3, "of 8": 8}
    with tempfile.TemporaryDirectory() as folder:
        sample(run, Order(seeds, None, ["model.Defaults.steps=10"], "cpu", threads=threads), Path(folder))
        expected = {seed: _digest(Path(folder, f"{seed}.png").read_bytes()) for seed in seeds}
    found: dict[str, int] = {"command line": len(expected)}
    with Process(run, threads) as server:

        async def ask(client: httpx.AsyncClient, some: list[int], **more: Any) -> int:
            while (answer := await client.post("/v1/sample", json={"seeds": some, "steps": 10, **more})).status_code == 429:
                await asyncio.sleep(0.1)
            answer.raise_for_status()
            return sum(image["sha256"] == expected.get(image["seed"]) for image in answer.json()["images"])

        async def all_of_them() -> None:
            async with server.client() as client:
                for name, size in groups.items():
                    parts = [seeds[i : i + size] for i in range(0, len(seeds), size)]
                    found[name] = sum([await ask(client, part) for part in parts])
                strangers = [ask(client, [i], sampler="DDIM", scale=2.0, cond={"label": str(i % 10)}) for i in range(12)]
                mixed = [ask(client, [seed]) for seed in seeds]
                answers = await _few_at_a_time([*strangers, *mixed], 24)
                found["among strangers"] = sum(answers[12:])

        asyncio.run(all_of_them())
    return {"equal": sum(found.values()), "of": 6 * len(seeds), **found}


def load(run: Path, threads: int, seconds: float, clients: int, steps: int, **_: Any) -> dict[str, Any]:
    """Many clients, slow sockets, and what came of it."""
    expected, before = alone(run, threads, steps), offline(run, threads, steps)
    told: dict[str, Any] = {"clients": clients, "seconds": seconds, "slow_sockets": SLOW}
    with Process(run, threads) as server:
        seen = asyncio.run(_storm(server, clients, seconds, steps, expected))
        after = asyncio.run(_storm(server, 1, 2, steps, expected))
        most = server.gauge("unnoise_waiting_most")
        full = server.gauge("unnoise_rows") / max(server.gauge("unnoise_places"), 1)
    cost = {kind: (before[kind] + now) / 2 for kind, now in offline(run, threads, steps).items()}  # a machine's speed drifts
    worked = {client: sum(cost[kind] * n for kind, n in done) for client, done in seen["done"].items()}
    rate = sum(worked.values()) / (seen["last"] - seen["began"])
    return told | {
        "statuses": dict(seen["statuses"]),
        "pictures": seen["pictures"],
        "wrong_pictures": seen["wrong"] + after["wrong"],
        "most_waiting": most,
        "throughput_over_offline": round(rate, 3),
        "rows_asked_for_over_places": round(full, 3),
        "refusal_ms_in_the_server_max": round(max(seen["refusals"], default=0), 1),
        "health_ms_p99": round(1000 * _quantile(seen["health"], 0.99), 1),
        "most_served_over_fair_share": round(max(worked.values()) / (sum(worked.values()) / clients), 2),
        "offline_ms_a_sample": {kind: round(1000 * value, 2) for kind, value in cost.items()},
    }


async def _storm(
    server: Process, clients: int, seconds: float, steps: int, expected: dict[tuple[str, int], str]
) -> dict[str, Any]:
    """Clients that ask until the time is over; each has a name of its own. `last` is when the last of them had its answer."""
    seen: dict[str, Any] = {"statuses": Counter(), "pictures": 0, "wrong": 0, "refusals": [], "health": [], "done": {}}
    seen["began"] = time.perf_counter()
    end = seen["began"] + seconds

    async def ask(number: int) -> None:
        keyed, done = random.Random(number), seen["done"].setdefault(number, [])
        async with server.client(**{"x-client": f"client-{number}"}) as client:
            while time.perf_counter() < end:
                kind, first, n = keyed.choice(list(KINDS)), keyed.randrange(POOL - 8), keyed.randint(1, 8)
                body = {**KINDS[kind], "seed": first, "n": n, "steps": steps}
                answer = await client.post("/v1/sample", json=body)
                seen["statuses"][answer.status_code] += 1
                if answer.status_code == 429:
                    seen["refusals"].append(float(re.findall(r"work;dur=([\d.]+)", answer.headers["server-timing"])[0]))
                    await asyncio.sleep(keyed.uniform(0.2, 0.6))
                elif answer.status_code == 200:
                    images = answer.json()["images"]
                    right = [image["sha256"] == expected[kind, first + i] for i, image in enumerate(images)]
                    seen["pictures"] += len(images)
                    seen["wrong"] += (len(right) != n) + right.count(False)
                    done.append((kind, n))
                    seen["last"] = time.perf_counter()

    async def slow() -> None:
        while time.perf_counter() < end:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                for byte in b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"x" * 1000:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(1)
                    if time.perf_counter() >= end:
                        break
                writer.close()
            except OSError:
                await asyncio.sleep(0.1)

    async def health() -> None:
        async with server.client() as client:
            while time.perf_counter() < end:
                at = time.perf_counter()
                assert (await client.get("/healthz")).text == "ok"
                seen["health"].append(time.perf_counter() - at)
                await asyncio.sleep(0.1)

    await asyncio.gather(*(ask(i) for i in range(clients)), *(slow() for _ in range(SLOW if clients > 1 else 0)), health())
    return seen


def peer(run: Path, threads: int, steps: int, clients: int, **_: Any) -> dict[str, Any]:
    """Pictures a second of either, for as many clients with plain requests of one picture."""
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = exported_peer(run, Path(folder))
        for name, process in (("unnoise", Process(ours, threads)), ("diffusers", Process(theirs, threads, peer=True))):
            with process as server:
                rates[name] = asyncio.run(_rate(server, clients, steps, 20.0))
    return {"pictures_a_second": rates, "times": round(rates["unnoise"] / rates["diffusers"], 2)}


async def _rate(server: Process, clients: int, steps: int, seconds: float) -> float:
    done, began = 0, time.perf_counter()

    async def ask(number: int) -> None:
        nonlocal done
        async with server.client(**{"x-client": f"client-{number}"}) as client:
            while time.perf_counter() < began + seconds:
                body = {"seed": number, "n": 1, "steps": steps, "sampler": "DDIM", "cond": {"label": str(number % 10)}}
                answer = await client.post("/v1/sample", json=body)
                done += answer.status_code == 200
                if answer.status_code == 429:
                    await asyncio.sleep(0.2)

    await asyncio.gather(*(ask(i) for i in range(clients)))
    return round(done / (time.perf_counter() - began), 2)


def memory(run: Path, threads: int, share: float, **_: Any) -> dict[str, Any]:
    """Resident megabytes, threads and open files between requests 200 and 1,200, and after 500 that fail."""
    told = {}
    with Process(run, threads) as server:

        async def ask(n: int, wrong: bool) -> None:
            async with server.client() as client:
                bad: list[dict[str, Any]] = [
                    {"steps": 0},
                    {"cond": {"label": "none such"}},
                    {"sampler": "DDIM", "sampler_options": {"eta": -1}},
                ]
                for i in range(n):
                    body = bad[i % 3] if wrong else {"seed": i % 50, "n": 1 + i % 3, "steps": 2, **list(KINDS.values())[i % 5]}
                    answer = await client.post("/v1/sample", json=body)
                    assert answer.status_code == (422 if wrong else 200), answer.text

        for name, n, wrong in (("200", 200, False), ("1200", 1000, False), ("500 failing", 500, True)):
            asyncio.run(ask(round(n * share), wrong))
            told[name] = server.holds()
    grown = {key: round(told["1200"][key] - told["200"][key], 2) for key in told["200"]}
    failing = {key: round(told["500 failing"][key] - told["1200"][key], 2) for key in told["200"]}
    return {"at": told, "grown_200_to_1200": grown, "grown_by_500_failing": failing}


def stops(run: Path, threads: int, share: float, **_: Any) -> dict[str, Any]:
    """Exit codes, seconds to exit, and what became of the requests."""
    keyed, codes, spent, ends = random.Random(0), Counter[int](), [], Counter[str]()
    for _turn in range(round(30 * share)):
        with Process(run, threads) as server:

            async def asked(server: Process = server) -> None:
                async with server.client() as client:

                    async def one(i: int) -> str:
                        try:
                            answer = await client.post("/v1/sample", json={"seed": i, "n": 2, "steps": 30})
                            whole = answer.status_code != 200 or len(answer.json()["images"]) == 2
                            return str(answer.status_code) if whole else "cut"
                        except httpx.ConnectError:
                            return "not connected"
                        except httpx.HTTPError:
                            return "lost"

                    tasks = [asyncio.create_task(one(i)) for i in range(12)]
                    await asyncio.sleep(keyed.uniform(0, 2))
                    server.terminate()
                    ends.update(await asyncio.gather(*tasks))

            asyncio.run(asked())
            code, seconds = server.wait(40)
            codes[code] += 1
            spent.append(seconds)
    return {"exit_codes": dict(codes), "most_seconds_to_exit": round(max(spent), 2), "requests": dict(ends)}


def fuzz(run: Path, threads: int, share: float, **_: Any) -> dict[str, Any]:
    """Requests that nearly follow the schema, and bytes that are hardly HTTP: no 5xx, no trace or path; exact afterwards."""
    with Process(run, threads) as server:
        before = _first(server)
        schema = schemathesis(server, round(250 * share))
        bytes_ = asyncio.run(broken(server, round(2000 * share)))
        return {"schemathesis": schema, "raw": bytes_, "the_same_afterwards": before == _first(server)}


def _first(server: Process) -> list[str]:
    with httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}, timeout=120) as client:
        answer = client.post(f"http://127.0.0.1:{server.port}/v1/sample", json={"seeds": [1, 2, 3], "steps": 5})
    return [image["sha256"] for image in answer.json()["images"]]


async def _few_at_a_time(asked: list[Any], n: int) -> list[Any]:
    room = asyncio.Semaphore(n)

    async def one(what: Any) -> Any:
        async with room:
            return await what

    return await asyncio.gather(*(one(what) for what in asked))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else 0.0


def main(*arguments: str) -> None:
    options = {
        "parts": "digests,load,peer,memory,fuzz,stops",
        "seconds": "60",
        "clients": "64",
        "threads": str(spare()),
        "steps": "20",
        "share": "1",
    }
    options |= dict(argument.removeprefix("--").split("=") for argument in arguments if argument.startswith("--"))
    (run,) = (Path(argument) for argument in arguments if not argument.startswith("--"))
    given = {"seconds": float(options["seconds"]), "clients": int(options["clients"]), "steps": int(options["steps"])}
    given["share"] = float(options["share"])
    result: dict[str, Any] = {"run": run.name, "threads": int(options["threads"])}
    for part in options["parts"].split(","):
        result[part] = globals()[part](run, int(options["threads"]), **given)
        print(part, result[part], file=sys.stderr)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
