"""One run, one process: the lock on a run's folder, and the signals that end a run in good order."""

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from . import disk


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process.

    The system lets the lock go when the process dies, however it dies: a stale lock cannot remain. The file's text, the
    owner's process id, is for people.

    Raises:
        ValueError: Another run holds the folder.
    """
    disk.make(folder)
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise ValueError(
                f"{folder}: process {owner} trains in this folder; wait for it, stop it, or choose another folder"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


class Stop:
    """Whether the user (Ctrl-C) or the system (SIGTERM) has asked the run to end."""

    signal: int | None = None

    def leave(self) -> None:
        """Raise KeyboardInterrupt or SystemExit(143), whichever was asked for."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Note Ctrl-C and SIGTERM instead of dying in mid-step; a second Ctrl-C interrupts at once.

    Outside the main thread, where Python takes no handlers, signals keep their meaning.
    """
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = number

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
