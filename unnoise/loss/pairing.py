"""Which noise goes with which data: of a few draws, the ones that lie near."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unnoise.tensor import Cond


@dataclass(frozen=True)
class Paired:
    """Noise given to the data that it is nearest to, in groups of rows: the assignment of least sum |x_i - eps_j|^2.

    The noise of a group is the same as without, in another order, so that together it is N(0, I) still; the ways from noise
    to data cross less, and the network has less to average over. It learns E[x | x_t] of that law of pairs, whose flow from
    noise to data is one between the same two laws: for samplers that draw no noise. Reported losses are of unpaired noise.

    Pairing without regard to a condition gives the noise of one class another law than N(0, I), from which sampling of that
    class begins: `within` names a condition whose values do not exchange noise.

    Args:
        group: Rows that exchange their noise: g follow each other in the batch, and belong together whatever the number of
            processes. Exact assignment: about g^3 steps on the CPU, for which an accelerator is waited for.
        within: A condition of classes, or "".

    Raises:
        ValueError: For a group of less than 2.

    Reference: Pooladian et al., Multisample Flow Matching, 2023, section 3.1, arXiv:2304.14772; Tong et al., Improving and
    Generalizing Flow-Based Generative Models with Minibatch Optimal Transport, 2023, section 3.3, arXiv:2302.00482; Li et al.,
    Immiscible Diffusion, 2024, algorithm 1, arXiv:2406.12303; with conditions: Cheng & Schwing, The Curse of Conditions, 2025,
    arXiv:2503.10636
    """

    group: int = 32
    within: str = ""

    def __post_init__(self) -> None:
        if self.group < 2:
            raise ValueError(f"group = {self.group}; expected 2 or more rows that exchange their noise")

    def __call__(self, x: Tensor, eps: Tensor, cond: Cond) -> Tensor:
        """The noise of each row of x, (B, ...); rows that make no whole group keep theirs.

        Raises:
            ValueError: If the data have no condition `within`.
        """
        if self.within and self.within not in cond:
            raise ValueError(
                f"pairing within {self.within!r}: the data have no such condition; they have {', '.join(cond) or 'none'}"
            )
        order = torch.arange(len(x))
        for start in range(0, len(x) - self.group + 1, self.group):
            rows = slice(start, start + self.group)
            cost = -(x[rows].flatten(1).double() @ eps[rows].flatten(1).double().T).cpu().numpy()
            if self.within:
                told = cond[self.within][rows].cpu().numpy()
                cost = np.where(told[:, None] == told, cost, np.inf)
            order[rows] = start + torch.from_numpy(assignment(cost))
        return eps[order.to(eps.device)]

    def check(self, rows: slice, micro_batch: Any) -> None:
        """That a process's rows of a batch, and the parts in which it has them in memory, are whole groups: else what is learnt
        would depend on them.

        Raises:
            ValueError: If they are not.
        """
        sizes = {"a process's rows begin at": rows.start, "a process's rows end at": rows.stop, "micro_batch is": micro_batch}
        for what, size in sizes.items():
            if size == "auto" or (size is not None and size % self.group):
                raise ValueError(f"pairing in groups of {self.group}: {what} {size}; expected a multiple of the group")


def assignment(cost: np.ndarray) -> np.ndarray:
    """The column of each row, (n,), such that each column is taken once and the sum of costs is least; cost (n, n), in part
    infinite. Rows come one by one, each by the shortest way of exchanges to a free column, at prices that keep all ways positive.

    Reference: Jonker & Volgenant, A Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment Problems, 1987.
    """
    n = len(cost)
    owner = np.full(n, -1)  # the row of each column
    of_row, of_column = np.zeros(n), np.zeros(n)  # prices
    for row in range(n):
        way, before, closed = np.full(n, np.inf), np.full(n, -1), np.zeros(n, bool)
        here, at, reach = row, -1, 0.0
        while True:
            further = reach + cost[here] - of_row[here] - of_column
            shorter = ~closed & (further < way)
            way[shorter], before[shorter] = further[shorter], at
            at = int(np.where(closed, np.inf, way).argmin())
            reach, closed[at] = way[at], True
            if owner[at] < 0:
                break
            here = owner[at]
        passed = closed & (owner >= 0)
        of_row[row] += reach
        of_row[owner[passed]] += reach - way[passed]
        of_column[passed] -= reach - way[passed]
        while at >= 0:
            owner[at], at = (owner[before[at]] if before[at] >= 0 else row), before[at]
    return np.argsort(owner)
