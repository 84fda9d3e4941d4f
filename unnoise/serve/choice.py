"""Who is let in, and whose evaluations come next: batches that are full, in crowds that walk together, by fair share.

A walk costs the same beside the network whether it has one row or fifty. Hence jobs of equal settings that come in together are
one walk; and while batches are full without them, newcomers are kept waiting for a few, so that they do come together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unnoise.serve.gather import Evaluation, Turn
from unnoise.serve.jobs import Job
from unnoise.serve.line import Line
from unnoise.serve.together import Together

FULL = 3  # batches that active walks fill, so that those with guidance and those without are both full; turns at a time
GATHER = 4  # batches that go by between newcomers, where what there is fills them
PATIENCE = 16  # batches that may go by before one that is not full

Kind = tuple[str, int]


@dataclass(eq=False)
class Active:
    """Jobs at work in one walk: its coroutine, and what that waits for."""

    jobs: list[Job]  # who left is no longer here
    walk: Any
    together: Together | None
    asked: Evaluation | Turn | None = None
    passed: int = 0  # batches that it was left out of

    @property
    def rows(self) -> int:
        """Of the network's next batch, as many as it asks for; 1 where it computes by itself."""
        return self.asked.left if isinstance(self.asked, Evaluation) else 1


class Choice:
    """Among the jobs of a line.

    Args:
        line: Where they wait, and what each client has had.
        most: Jobs at work at a time.
    """

    def __init__(self, line: Line, most: int) -> None:
        self.line, self.most = line, most
        self.came: dict[Kind, int] = {}  # at which batch newcomers last did

    def newcomers(self, active: Sequence[Active], batch: int) -> list[list[Job]]:
        """Jobs that are let in, those of one walk together.

        Args:
            active: What is at work.
            batch: The number of the batch that comes next.
        """
        rows, found = Counter[Kind](), list[list[Job]]()
        for one in active:
            rows[one.jobs[0].kind] += sum(job.weight for job in one.jobs)
        room = self.most - sum(len(one.jobs) for one in active)
        inside = {job.kind for job in list(self.line.waiting) if self._open(job, rows[job.kind], batch)}

        def fits(job: Job) -> bool:
            return job.kind in inside and rows[job.kind] < FULL * max(job.batch, 1)

        while room > 0 and (first := self.line.next(fits)):
            rows[first.kind] += first.weight
            found.append([first])
            while len(found[-1]) < room and (other := self.line.next(lambda job: fits(job) and _joins(job, found[-1]))):
                rows[other.kind] += other.weight
                found[-1].append(other)
            room -= len(found[-1])
            self.came[first.kind] = batch
        return found

    def next(self, active: Sequence[Active]) -> list[Active]:
        """Whose evaluations come next: those of one kind, in one batch, or one walk that takes a turn of its own.

        Batches that are full can go, and the fullest if none is; so can turns, and what was passed over often. Of these it is
        that of the client who had least.
        """
        had = self.line.shares.had
        groups: dict[Any, list[Active]] = {}
        for one in sorted(active, key=lambda one: min((had(job.client), job.number) for job in one.jobs)):
            kind = one.asked.kind if isinstance(one.asked, Evaluation) else id(one)
            groups.setdefault(kind, []).append(one)
        fullest = max((_fill(group) for group in groups.values() if isinstance(group[0].asked, Evaluation)), default=1.0)
        enough = min(1.0, fullest)
        ready = (g for g in groups.values() if _fill(g) >= enough or any(one.passed >= PATIENCE for one in g))
        return _first(next(ready))

    def _open(self, job: Job, rows: int, batch: int) -> bool:
        """Whether jobs of its kind may come in: at once where batches are not full, else in crowds."""
        if not job.batch or rows < job.batch:
            return True
        return rows <= FULL * job.batch and batch - self.came.get(job.kind, -GATHER) >= GATHER


def _joins(job: Job, others: Sequence[Job]) -> bool:
    """Whether a job may walk together with others."""
    part, first = job.part, others[0].part
    alike = part is not None and first is not None and part.key is not None and part.key == first.key
    return alike and job.rows + sum(other.rows for other in others) <= job.batch


def _fill(group: Sequence[Active]) -> float:
    """How full a batch of these would be; a turn always is."""
    asked = group[0].asked
    return sum(one.rows for one in group) / asked.size if isinstance(asked, Evaluation) else 1.0


def _first(group: Sequence[Active]) -> list[Active]:
    """The first of a group whose rows fit into a batch, the last of them perhaps in part."""
    asked, rows, chosen = group[0].asked, 0, list[Active]()
    if not isinstance(asked, Evaluation):
        return [group[0]]
    for one in group:
        if rows >= asked.size:
            break
        chosen.append(one)
        rows += one.rows
    return chosen
