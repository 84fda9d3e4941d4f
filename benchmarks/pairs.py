"""Two ways to do the same, timed in turn: what the machine does besides falls on both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

LEVEL = 0.95


def pairs(ours: Callable[[], object], theirs: Callable[[], object], rounds: int, device: str = "cpu") -> dict[str, Any]:
    """Median seconds of both, and the ratio ours / theirs: median over the rounds, with an interval of 95 % or more.

    Within a round the first goes first and last in turn. On CPUs the seconds are those of the process on all its threads where
    these are one (a busy machine does not count), else those of the clock; both are told.

    Args:
        ours, theirs: What is timed; each runs twice before.
        rounds: How many pairs, 11 at least.
        device: Waited for, where it is no CPU.
    """
    for run in (ours, theirs, ours, theirs):
        _seconds(run, device)
    clock: list[tuple[float, float]] = []
    used: list[tuple[float, float]] = []
    for number in range(rounds):
        first, second = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        a, b = _seconds(first, device), _seconds(second, device)
        mine, yours = (a, b) if number % 2 == 0 else (b, a)
        clock.append((mine[0], yours[0]))
        used.append((mine[1], yours[1]))
    told = {"rounds": rounds, "clock": _ratio(clock)}
    return told | ({"cpu": _ratio(used)} if device == "cpu" else {})


def _seconds(run: Callable[[], object], device: str) -> tuple[float, float]:
    began = time.perf_counter(), time.process_time()
    run()
    if device != "cpu":
        torch.get_device_module(device).synchronize()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def _ratio(taken: list[tuple[float, float]]) -> dict[str, Any]:
    ratios = sorted(a / b for a, b in taken)
    low, high = order_interval(len(ratios))
    return {
        "ours_s": round(statistics.median(a for a, _ in taken), 5),
        "theirs_s": round(statistics.median(b for _, b in taken), 5),
        "ratio": round(statistics.median(ratios), 4),
        "interval": [round(ratios[low], 4), round(ratios[high], 4)],
    }


def order_interval(n: int) -> tuple[int, int]:
    """Places, among n sorted values, of an interval that covers the median with 95 % at least (by the signs' binomial law)."""
    from math import comb

    tail, k = 0.0, 0
    while k < (n - 1) // 2 and tail + comb(n, k) / 2**n <= (1 - LEVEL) / 2:
        tail += comb(n, k) / 2**n
        k += 1
    low = max(k - 1, 0)
    return low, n - 1 - low
