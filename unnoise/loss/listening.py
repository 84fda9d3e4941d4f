"""Parts of an objective that learn from what a step says, beside what gradients teach."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Listening(nn.Module, ABC):
    """Hears rows of a step, in one process as they come, over several processes those of all at the end of the step.

    `heard` gathers what is said until then; whoever joins several processes makes it a list, and empties it.
    """

    heard: list[tuple[Tensor, ...]] | None = None

    def said(self, *rows: Tensor) -> None:
        """Rows (B,) of this process."""
        rows = tuple(row.detach() for row in rows)
        if self.heard is None:
            self.hear(*rows)
        else:
            self.heard.append(rows)

    @abstractmethod
    def hear(self, *rows: Tensor) -> None:
        """Learn from rows (B,), which change buffers."""
