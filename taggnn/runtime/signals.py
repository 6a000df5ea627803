"""Signals that ask the program to end: training saves first, and the exit code tells that the run can be resumed."""

import multiprocessing
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

# The shells' code for SIGTERM, used for every signal, so that a job script has one code to test for.
EXIT_CODE = 143
# The shells' code for Ctrl-C.
INTERRUPTED = 130
# Systems and cluster schedulers send these before they kill a program. Windows has no SIGUSR1, and nothing sends its SIGTERM:
# there Ctrl-Break (SIGBREAK) is what another process can send.
STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGBREAK") if hasattr(signal, name)]


class StopRequested(BaseException):
    """A signal asked the program to end; the arguments are the message. Not an error, so not an ``Exception``."""


class Watch:
    """Handles SIGTERM and SIGUSR1 during a ``with`` block: the first one raises ``StopRequested``; later ones are ignored.

    While ``deferred`` is set nothing is raised: the code that set it checks ``received``, saves, and raises ``ended()``.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self.deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Watch":
        # Only the main thread may set handlers.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in STOP_SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def ended(self) -> StopRequested:
        """The exception that ends the program; of several processes, only some may have received the signal themselves."""
        return StopRequested(f"ended by {self.received or 'a signal to another process'}")

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number).name
            if not self.deferred:
                raise self.ended()


def leave_to_parent() -> None:
    """For a loader process: ignores SIGTERM and SIGUSR1 unless its parent sends them.

    A scheduler sends signals to all processes of a job, and training needs batches until it has saved. Nothing changes on
    systems that do not tell who sent a signal (macOS, Windows).
    """
    parent = multiprocessing.parent_process()
    if parent is not None and hasattr(signal, "sigwaitinfo"):
        # Blocked in this thread and in those it starts; another thread waits for them.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        threading.Thread(target=_end_for, args=(parent.pid,), daemon=True).start()


def _end_for(parent: int) -> None:
    while signal.sigwaitinfo(STOP_SIGNALS).si_pid != parent:
        pass
    # A normal exit would wait forever for a loader that was not shut down.
    os._exit(0)
