"""What a run tells: `log.jsonl` for programs, TensorBoard, and a bar or plain lines for whoever watches."""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

from . import disk
from .rollback import Rollback

EVERY = 10.0  # seconds between plain lines


class Log:
    """`log.jsonl`: one row a line, `{"step": ..., <values>, "time": {...}}`; what depends on the clock is in "time".

    A row is appended by one system call. Opened at `step`, the log forgets later rows: they belong to steps that a
    killed run made and that will be made again. So the log of a resumed run is that of one never interrupted.

    Args:
        folder: The run's folder.
        step: Updates made so far.
        tensorboard: Also write TensorBoard's files, to `folder/tensorboard`; "auto" if it is installed.
    """

    def __init__(self, folder: Path, step: int = 0, *, tensorboard: bool | Literal["auto"] = False) -> None:
        self.path = folder / "log.jsonl"
        self.started, self.cpu_started = time.perf_counter(), time.process_time()
        self.boards = tensorboard is True or (tensorboard and find_spec("tensorboard") is not None)
        self._open(step)

    def _open(self, step: int) -> None:
        folder, lines = self.path.parent, []
        self.board = _board(folder, step) if self.boards else None
        if self.path.exists():
            lines = self.path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if _step(line) <= step]
            if kept != lines:
                disk.replace(self.path, kept)
            lines = kept
        self.rolled_back = sum(b'"rolled_back"' in line for line in lines)  # rows that tell of it
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        disk.sync_folder(folder)  # its name must last as long as its rows

    def rewind(self, step: int) -> None:
        """Forget all rows after that step, as if opened there."""
        self._close()
        self._open(step)

    def roll_back(self, made: Sequence[Rollback], step: int) -> None:
        """A row for each that has none yet and went back to this step, or before."""
        for one in made[self.rolled_back :]:
            if one.to <= step:
                self.row(one.to, **one.row)
                self.rolled_back += 1

    def row(self, step: int, clock: dict[str, float] | None = None, **values: Any) -> None:
        """Append one row; `clock` holds what another run of the same steps would measure differently."""
        elapsed = {"seconds": time.perf_counter() - self.started, "cpu_seconds": time.process_time() - self.cpu_started}
        spent = {name: round(seconds, 3) for name, seconds in elapsed.items()}
        row = {"step": step, **_plain(values), "time": {**spent, **(clock or {})}}
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        with disk.room(self.path.parent, len(line)):
            os.write(self.file, line)
        if self.board:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(name, value, step)

    def sync(self) -> None:
        """Make all rows durable; done before a checkpoint, which relies on them."""
        os.fsync(self.file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        os.close(self.file)
        if self.board:
            self.board.close()


class Progress:
    """A bar with rate and time left where a terminal is watched, else a plain line every ten seconds."""

    def __init__(self, start: int, steps: int, say: Callable[[str], object]) -> None:
        self.start, self.steps, self.say = start, steps, say
        self.began = self.shown = time.perf_counter()
        self.note = ""
        self.stack = ExitStack()
        self.show = self._bar() if sys.stderr.isatty() else self._line
        self.pause = 0.2 if self.show != self._line else EVERY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def update(self, step: int) -> None:
        """Tell that update number `step` is done; costs next to nothing between two showings."""
        now = time.perf_counter()
        if now - self.shown >= self.pause or (step == self.steps and self.pause < EVERY):
            self.shown = now
            self.show(step)

    def _line(self, step: int) -> None:
        rate = (step - self.start) / (self.shown - self.began)
        left = time.strftime("%H:%M:%S", time.gmtime((self.steps - step) / rate))
        self.say(f"step {step:,} of {self.steps:,}, {rate:.3g} steps/s, {left} left{self.note}")

    def _bar(self) -> Callable[[int], None]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
        bar = self.stack.enter_context(Bar(*columns, console=Console(stderr=True)))
        task = bar.add_task("", total=self.steps, completed=self.start, rate="")

        def show(step: int) -> None:
            rate = (step - self.start) / (self.shown - self.began)
            bar.update(task, completed=step, rate=f"{rate:.3g} steps/s{self.note}")

        return show


def _step(line: bytes) -> float:
    """The step of a row; infinity for a line cut short by a kill."""
    try:
        return json.loads(line)["step"] if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError, TypeError):
        return math.inf


def _plain(value: Any) -> Any:
    """A value that JSON can hold: NaN and infinity, which it cannot, become their names."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("tensorboard = true, but TensorBoard is not installed; `pip install tensorboard`") from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
