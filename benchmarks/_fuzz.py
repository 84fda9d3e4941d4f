"""Requests that nobody should send, for `benchmarks/serve.py`."""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks._serving import TOKEN, Process


def schemathesis(server: Process, examples: int) -> dict[str, Any]:
    """Cases of its own making, so many for each operation: 5,000 and more of 250."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "events.ndjson")
        command = [
            str(Path(sys.executable).with_name("st")), "run", f"http://127.0.0.1:{server.port}/openapi.json",
            "-H", f"Authorization: Bearer {TOKEN}", "--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing",
            "-n", str(examples), "--no-shrink", "--continue-on-failure", "--seed", "1", "--suppress-health-check", "all",
            "--warnings", "off", "--report", "ndjson", "--report-ndjson-path", str(report), "--output-sanitize", "false",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        text = report.read_text("utf-8", "replace") if report.is_file() else ""
    statuses = Counter(re.findall(r'"status_code":\s*(\d+)', text))
    leaks = sum(text.count(word) for word in ("Traceback (most", "site-packages", str(Path(__file__).parents[1])))
    return {
        "exit": done.returncode,
        "cases": sum(statuses.values()),
        "statuses": dict(statuses),
        "leaks": leaks,
        "end": done.stdout.strip().rpartition("\n")[2].strip(" ="),
    }


async def broken(server: Process, n: int) -> dict[str, Any]:
    """A right request with bytes changed, cut, doubled or put in; what each answer begins with."""
    keyed, seen, leaks = random.Random(5), Counter[str](), 0
    body = b'{"steps": 2, "seed": 1}'
    right = (
        f"POST /v1/sample HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body

    async def one(content: bytes) -> bytes:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(content)
            await writer.drain()
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(65_536), 15)
            writer.close()
            return answer
        except (OSError, TimeoutError):
            return b""

    for content in (_changed(right, keyed) for _ in range(n)):
        answer = await one(content)
        seen[answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.") else "closed"] += 1
        leaks += any(word in answer for word in (b"Traceback", b"site-packages", b".py"))
    return {"cases": n, "statuses": dict(seen), "leaks": leaks}


def _changed(content: bytes, keyed: random.Random) -> bytes:
    for _ in range(keyed.randint(1, 4)):
        at, size = keyed.randrange(len(content)), keyed.randint(1, 12)
        new = keyed.choice(
            [b"", bytes(keyed.randrange(256) for _ in range(size)), b"\r\n", b"\0" * size, content[at : at + size] * 50]
        )
        content = content[:at] + new + content[at + keyed.choice([0, size]) :] or b"\n"
    return content
