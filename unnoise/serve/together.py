"""Requests that sample alike as one walk: what a step costs beside the network is then paid once for all of them.

Their rows stand in one tensor. A row's numbers do not depend on the rows beside it, so that each request has the bytes that it
would have alone. Who leaves on the way is no longer asked about: his rows stay in the tensor, and out of the network's batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from unnoise.sampler import Moment
from unnoise.serve.gather import Shared

if TYPE_CHECKING:
    from unnoise.model import Model
    from unnoise.serve.jobs import Job


class Part(Protocol):
    """What one request has in such a walk.

    Attributes:
        key: Equal for requests that may walk together; None: by itself.
        seeds, cond: Of its rows.
    """

    key: Hashable
    seeds: Sequence[int]
    cond: Mapping[str, Tensor]

    def view(self, rows: int) -> Model:
        """The model for a walk of so many rows."""

    def begin(self, job: Job, rows: slice) -> Callable[[Moment], object]:
        """The callback of the walk for its own rows."""

    def finish(self, job: Job, x: Tensor) -> dict[str, Any]:
        """The result, made of its samples."""


class Together:
    """The walk of several jobs; called, it runs as a coroutine of the engine and gives each job's samples."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        ends = list(itertools.accumulate(job.rows for job in jobs))
        self.places = {job: slice(end - job.rows, end) for job, end in zip(jobs, ends, strict=True)}
        self.rows = ends[-1]
        self.gone: set[Job] = set()
        self.network: Any = None

    def __call__(self) -> dict[Job, Tensor]:
        parts = [job.part for job in self.places if job.part]
        view = parts[0].view(self.rows)
        self.network = view.denoiser.network
        watches = [(job, part.begin(job, rows)) for part, (job, rows) in zip(parts, self.places.items(), strict=True)]

        def watch(moment: Moment) -> None:
            for job, one in watches:
                if job not in self.gone:
                    one(moment)

        cond = {name: torch.cat([part.cond[name] for part in parts]) for name in parts[0].cond}
        x = view.sample(seeds=[seed for part in parts for seed in part.seeds], cond=cond, callback=watch)
        return {job: x[rows] for job, rows in self.places.items()}

    def leave(self, job: Job) -> None:
        """From the next evaluation on, the network is not asked about this job's rows."""
        self.gone.add(job)
        if isinstance(self.network, Shared):
            stay = [torch.arange(rows.start, rows.stop) for one, rows in self.places.items() if one not in self.gone]
            self.network.wanted = torch.cat(stay)
