"""The machine that a task runs on: device, threads, precision."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

DEVICES = ("auto", "cuda", "mps", "cpu")


def device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" takes the best there is.

    Raises:
        ValueError: For a name that is unknown, or a device that is not there.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in here.items() if there)
    kind = name.partition(":")[0]
    if kind not in here:
        raise ValueError(f"device {name!r}: expected one of {', '.join(DEVICES)}")
    if not here[kind]:
        raise ValueError(f"device {name!r} is not there; this machine has {', '.join(k for k in here if here[k])}")
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # of several processes each has its own
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def precision(name: str) -> str:
    """The precision of this name.

    Raises:
        ValueError: If there is none.
    """
    if name not in ("fp32", "bf16"):
        raise ValueError(f"precision {name!r}: expected fp32 or bf16")
    return name


def threads(n: int | None) -> int:
    """Sets how many threads the CPU computes with, if given, and says how many it does.

    Raises:
        ValueError: For fewer than one.
    """
    if n is not None:
        if n < 1:
            raise ValueError(f"threads: expected at least 1, given {n}")
        torch.set_num_threads(n)
    return torch.get_num_threads()


def joules() -> float | None:
    """The energy that the processor has taken since some moment, where the system lets it be read (Intel and AMD under Linux)."""
    counters = sorted(Path("/sys/class/powercap").glob("intel-rapl:[0-9]"))
    try:
        return sum(int((counter / "energy_uj").read_text()) for counter in counters) / 1e6 if counters else None
    except (OSError, ValueError):
        return None


def describe() -> dict[str, Any]:
    """What its speed depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor() or platform.machine()
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
