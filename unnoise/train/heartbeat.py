"""Signs of life between the processes of one run, so that none waits for ever for one that is dead, stopped or lost.

Each process writes a count into the store by which they met, twice a second, from a thread of its own, and reads those of the
others. One whose count stands still for `patience` seconds is named in one line, by the lowest of those that live, and all end;
where it is on the same machine and merely stopped, it is killed, so that nothing is left behind. A process that fails by itself
says so in the store, and the others end in silence.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

BEAT = 0.5  # seconds
HURRY = 4.0  # seconds of silence that do where a connection to somebody has broken
GRACE = 2.0  # seconds that a failing process has to say why, and that the store may be away as all end


class Heartbeat:
    """The thread of process `rank` of `world`.

    Args:
        store: A connection of its own to the store where they met, of a time-out that is `patience` at most.
        rank, world: Of this process; how many there are.
        patience: Seconds without a sign of life.
    """

    def __init__(self, store: Any, rank: int, world: int, patience: float) -> None:
        self.store, self.rank, self.world, self.patience = store, rank, world, patience
        self.own = self.over = False  # whether this process fails by itself, or is done
        self.told = f"gave no sign of life for {patience:.0f} s"
        self.handles: dict[int, int] = {}
        store.set(f"beat/{rank}", "0")
        store.set(f"fault/{rank}", "")
        store.set(f"place/{rank}", json.dumps([_machine(), os.getpid()]))
        store.wait([f"place/{other}" for other in range(world)])
        for other in self.others():
            machine, pid = json.loads(store.get(f"place/{other}"))
            if machine == _machine() and hasattr(os, "pidfd_open"):
                self.handles[other] = os.pidfd_open(pid)  # stays that process's, whatever its number becomes
        self.met = time.monotonic()  # when the store last answered
        self.lost = self.faulty = False  # whether it refuses; whether another process fails by itself
        self.seen = dict.fromkeys(self.others(), (b"", self.met))  # each one's count, and when it last changed
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._beat, self._watch)]
        for thread in self.threads:
            thread.start()

    def others(self) -> list[int]:
        return [other for other in range(self.world) if other != self.rank]

    def hurry(self) -> None:
        """A connection has broken: wait until it is clear whose fault it was; return if all others are alive."""
        self.patience, self.told = min(self.patience, HURRY), "is gone (killed, or its machine)"
        time.sleep(self.patience + 4 * BEAT)

    def announce(self, what: str) -> bool:
        """Tell the others that this process fails, and why; whether it is for this one to say so to people.

        What befalls all of them alike is said once, by the lowest.
        """
        self.own = True
        try:
            self.store.set(f"fault/{self.rank}", what or "?")
            self.store.set(f"seen/{self.rank}", "")
            with suppress(RuntimeError):  # some may be stopped, or dead
                self.store.wait([f"seen/{other}" for other in self.others()], timedelta(seconds=2 * GRACE))
            return what.encode() not in self.store.multi_get([f"fault/{other}" for other in range(self.rank)])
        except RuntimeError:  # the store is gone: nobody else can have said it
            return True

    def end(self) -> None:
        """All have come to their end."""
        self.over = True
        for thread in self.threads:
            thread.join(GRACE)
        for handle in self.handles.values():
            os.close(handle)

    def _beat(self) -> None:
        """Tells and asks; may stay in a call for ever, where the process that keeps the store is stopped."""
        others, count = self.others(), 0
        keys = [f"{what}/{other}" for what in ("beat", "fault") for other in others]
        while not self.over and not self.own:
            try:
                count += 1
                self.store.set(f"beat/{self.rank}", str(count))
                values = self.store.multi_get(keys)
                if not self.faulty and any(values[len(others) :]):
                    self.store.set(f"seen/{self.rank}", "")
                    self.faulty = True
                self.met, self.lost = time.monotonic(), False
            except RuntimeError:
                self.lost = True
            else:
                for other, beat in zip(others, values, strict=False):
                    if beat != self.seen[other][0]:
                        self.seen[other] = (beat, self.met)
            time.sleep(BEAT)

    def _watch(self) -> None:
        """Ends this process where another fails or is silent."""
        while not self.over and not self.own:
            time.sleep(BEAT)
            if self.faulty:
                time.sleep(GRACE)  # its own line comes first, and what this one does may come to its end
                self._leave([], "")
            elif time.monotonic() - self.met > (GRACE if self.lost else self.patience):
                self._leave([0], self.told)  # the store is kept by the first process, or beside it
            elif silent := [other for other, (_, changed) in self.seen.items() if self.met - changed > self.patience]:
                self._leave(silent, self.told)

    def _leave(self, silent: list[int], what: str) -> None:
        """End this process; the lowest of those that live says who is silent, and each kills those that it can reach."""
        if self.over or self.own:
            return
        living = [rank for rank in range(self.world) if rank not in silent]
        if silent and self.rank == living[0]:
            who = f"rank {silent[0]}" if len(silent) == 1 else f"ranks {', '.join(map(str, silent))}"
            told = f"{who} of {self.world} {what}: all processes end; the same command goes on from the newest checkpoint"
            print(f"unnoise: {told}", file=sys.stderr, flush=True)
        for other in silent:
            if other in self.handles:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.handles[other], signal.SIGKILL)
        os._exit(1)


def _machine() -> str:
    """This machine, and the part of it whose process numbers are one's own."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    known = [boot.read_text().strip(), str(space.stat().st_ino)] if boot.exists() and space.exists() else []
    return " ".join([socket.gethostname(), *known])
