"""Signals that ask the program to end: it saves first where it trains, and leaves with a code that says it can go on."""

import multiprocessing
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

# That of a program that SIGTERM ended, as shells count; whichever signal it was, so that a job script has one to ask for.
EXIT_CODE = 143
# What systems and cluster schedulers send before they end a program by force; Windows has only the first.
ASKING = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Ended(BaseException):
    """A signal asked the program to end; the arguments are what to tell the user. No mistake, so no ``Exception``."""


class Watch:
    """Takes SIGTERM and SIGUSR1 for the time of a ``with`` block: notes the first that comes, and ends the program.

    At once, by raising ``Ended`` wherever the program is; or, while ``patient`` is set, not at all: then whoever set it looks
    at ``noted`` and raises ``Ended`` when everything is saved. What comes after the first changes nothing.
    """

    def __init__(self) -> None:
        self.noted: str | None = None
        self.patient = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Watch":
        # Python lets no other thread choose.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in ASKING}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def ended(self) -> Ended:
        """What to raise where the program leaves; of several processes only some may have noted a signal themselves."""
        return Ended(f"ended by {self.noted or 'a signal to another process'}")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.noted is None:
            self.noted = signal.Signals(number).name
            if not self.patient:
                raise self.ended()


def leave_to_parent() -> None:
    """For a loader process: keeps SIGTERM and SIGUSR1 from it, unless its parent sends them.

    A scheduler sends its signals to all processes of a job, and the one that trains needs its batches until it has saved.
    Where the system does not tell who sent a signal (macOS, Windows) all stays as it is.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and hasattr(signal, "sigwaitinfo"):
        # For this thread and those it starts; they are taken in a thread of their own.
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
        threading.Thread(target=_end_for, args=(parent.pid,), daemon=True).start()


def _end_for(parent: int) -> None:
    while signal.sigwaitinfo(ASKING).si_pid != parent:
        pass
    # Without it Python's end would wait for ever for a loader that was not shut down.
    os._exit(0)
