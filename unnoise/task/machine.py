"""The machine that a task runs on: device, threads, precision."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

POWER = Path("/sys/class/powercap")
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


def joules() -> dict[str, tuple[float, float]] | None:
    """Counters of the energy that each processor has taken, and where each begins anew, in joules.

    None where the system does not let them be read: Intel's and AMD's can be under Linux, often by the superuser alone.
    """
    folders = sorted(folder for folder in POWER.glob("intel-rapl:*") if folder.name.count(":") == 1)  # not their parts
    try:
        return {folder.name: (_micro(folder / "energy_uj"), _micro(folder / "max_energy_range_uj")) for folder in folders} or None
    except (OSError, ValueError):
        return None


def _micro(file: Path) -> float:
    return int(file.read_text()) / 1e6


def spent(before: dict[str, tuple[float, float]] | None, after: dict[str, tuple[float, float]] | None) -> float | None:
    """The joules between two readings; None if either is none."""
    if before is None or after is None or before.keys() != after.keys():
        return None
    return sum((after[name][0] - count) % limit for name, (count, limit) in before.items())


def describe() -> dict[str, Any]:
    """What its speed depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor() or platform.machine()
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
