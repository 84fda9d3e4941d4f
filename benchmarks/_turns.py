"""Turns in one run: a hook of our own training stops its clock, lets others make a step each, and starts it again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.pairs import order_interval
from unnoise.train import State

WARM = 2  # turns that are not counted


class Enough(Exception):
    """All turns are taken."""


class Turns:
    """A hook: ours has had its turn, now the others, in one order and in the other by turns."""

    def __init__(self, others: dict[str, Callable[[], object]], rounds: int, block: int, device: str) -> None:
        self.others, self.rounds, self.every, self.device = others, rounds, block, device
        self.taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ("ours", *others)}
        self.began: tuple[float, float] | None = None

    def __call__(self, state: State) -> None:
        if self.began:
            self.taken["ours"].append(since(self.began, self.device))
        if len(self.taken["ours"]) > self.rounds + WARM:
            raise Enough
        names = list(self.others)
        for name in names if len(self.taken["ours"]) % 2 else names[::-1]:
            began = now(self.device)
            for _ in range(self.every):
                self.others[name]()
            self.taken[name].append(since(began, self.device))
        self.began = now(self.device)

    def beside(self, name: str, clock: int) -> dict[str, Any]:
        """Throughput of ours over another's: each of its turns beside the mean of ours before and after it."""
        ours, theirs = ([taken[clock] / self.every for taken in self.taken[who]] for who in ("ours", name))
        # Theirs began one turn earlier; the first ones warm up.
        rows = [(theirs[k + 1], (ours[k] + ours[k + 1]) / 2) for k in range(WARM, len(ours) - 1)]
        ratios = sorted(a / b for a, b in rows)
        low, high = order_interval(len(ratios))
        return {
            "ours_ms": round(1000 * statistics.median(b for _, b in rows), 1),
            "theirs_ms": round(1000 * statistics.median(a for a, _ in rows), 1),
            "throughput": _digits(statistics.median(ratios)),
            "interval": [_digits(ratios[k]) for k in (low, high)],
        }


def now(device: str) -> tuple[float, float]:
    """The clock and the time of this process on all its threads, once the device has done what it was told."""
    if device != "cpu":
        torch.get_device_module(device).synchronize()
    return time.perf_counter(), time.process_time()


def since(began: tuple[float, float], device: str) -> tuple[float, float]:
    clock, used = now(device)
    return clock - began[0], used - began[1]


def _digits(value: float) -> float:
    return round(value, 4)
