"""Pictures that are decoded each time they are asked for: for sets that would take more of the disk than a cache may."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np

from unnoise.domain.decode import picture
from unnoise.domain.form import Form
from unnoise.domain.shards import read_at

LIMIT = 20 * 10**9  # bytes of one decoded set in the cache


def limit() -> float:
    """The most that one decoded set may take in the cache, in bytes: $UNNOISE_CACHE_LIMIT, or 20 GB."""
    given = os.environ.get("UNNOISE_CACHE_LIMIT")
    try:
        return float(given) if given else LIMIT
    except ValueError:
        raise ValueError(f"UNNOISE_CACHE_LIMIT={given}: expected a number of bytes, such as 2e10") from None


class InPlace:
    """Rows like those of an array (N, C, H, W), each decoded by a read at its place in a shard.

    Args:
        paths: The shards.
        places: Of each row: number of the shard, offset and size, (N, 3).
        form: What each is brought to.
    """

    def __init__(self, paths: list[Path], places: np.ndarray, form: Form) -> None:
        self.paths, self.places, self.form = paths, places, form
        self.shape = (len(places), form.channels, form.height, form.width)
        self.dtype = np.dtype(form.depth)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The pixels of these rows, by number."""
        asked = [(self.paths[shard], offset, size) for shard, offset, size in self.places[rows].tolist()]
        work = self.threads.map if len(asked) > 1 else map
        decoded = list(work(lambda place: picture(read_at(*place), self.form), asked))
        return np.stack(decoded) if decoded else np.empty((0, *self.shape[1:]), self.dtype)

    @cached_property
    def threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
