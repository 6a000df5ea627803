"""A process that holds the model and answers one request after the other.

What decodes a stranger's file is apart from what answers the network: a file that ends the process, or takes longer than the
limit, costs the process, which is started again, and not the server. Messages are JSON, so that a process that a file has taken
over cannot hand objects to the server.
"""

import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from taggnn.names import imported
from taggnn.runtime import json_file
from taggnn.runtime.signals import leave_to_parent

# Importing torch and reading a checkpoint takes seconds, from a slow disk minutes.
START_SECONDS = 600.0
Answer = Callable[[dict[str, Any]], dict[str, Any]]


class WorkerLost(Exception):
    """The process has ended, or was ended, before it answered; the message says why."""


class TooSlow(WorkerLost):
    """The process did not answer within the limit and was ended."""


@dataclass(frozen=True)
class Job:
    """What a process does.

    Args:
        build: the dotted path of a function, called once in the process with ``options``; it returns what answers requests, and
            what to report about it. A path, so that the server does without what the process imports.
        options: its arguments, by name.
    """

    build: str
    options: Mapping[str, Any]


class Worker:
    """The server's side of a process; its methods block and may be called from any thread, one at a time.

    Args:
        job: what it does.
        seconds: after which a request without an answer ends the process; None: never.
    """

    def __init__(self, job: Job, seconds: float | None = None) -> None:
        self.job, self.seconds = job, seconds
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> dict[str, Any]:
        """Starts the process, an earlier one is ended; returns what the job reports about itself.

        Raises:
            ValueError: the job cannot be built; the message is its own.
            WorkerLost: it ended while it was built.
        """
        self.stop()
        # A forked process would share the locks of the server's threads.
        start = multiprocessing.get_context("spawn")
        self._connection, theirs = start.Pipe()
        process = start.Process(target=_run, args=(theirs, self.job), daemon=True, name="taggnn.worker")
        self._process = process
        process.start()
        theirs.close()
        reply = self._reply(START_SECONDS)
        if "refused" in reply:
            self.stop()
            raise ValueError(reply["refused"])
        return reply["ready"]

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Sends a request and waits for its answer.

        Raises:
            TooSlow: no answer within the limit; the process was ended.
            WorkerLost: the process ended.
        """
        if self._connection is None:
            raise WorkerLost("no process is running")
        try:
            self._connection.send_bytes(json.dumps(request).encode())
        except OSError:
            raise self._lost() from None
        return self._reply(self.seconds)

    def kill(self) -> None:
        """Ends the process at once; a thread that waits for its answer gets ``WorkerLost``."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Ends the process and frees what belongs to it; not while another thread waits for an answer."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._process = self._connection = None

    def _reply(self, seconds: float | None) -> dict[str, Any]:
        assert self._connection is not None
        begun = monotonic()
        try:
            if not self._connection.poll(seconds):
                self.stop()
                raise TooSlow(f"no answer after {monotonic() - begun:.0f} seconds")
            content = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self._lost() from None
        return json_file.parse(content, "the answer of a process")

    def _lost(self) -> WorkerLost:
        assert self._process is not None
        self._process.join(5)
        code = self._process.exitcode
        self.stop()
        if code is not None and code < 0:
            return WorkerLost(f"the process was ended by {_signal(-code)}")
        return WorkerLost(f"the process ended with exit code {code}")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _run(connection: Connection, job: Job) -> None:
    # Ctrl-C at a terminal goes to all processes; the server ends this one when its last request is answered.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_to_parent()
    try:
        answer, about = imported(job.build)(**job.options)
    except (ValueError, OSError, ImportError) as error:
        _send(connection, {"refused": str(error)})
        return
    _send(connection, {"ready": about})
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            # The server has ended.
            return
        try:
            reply = answer(request)
        except MemoryError:
            reply = {"error": "needs more memory than there is"}
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            reply = {"failed": type(error).__name__}
        _send(connection, reply)


def _send(connection: Connection, reply: Mapping[str, Any]) -> None:
    try:
        connection.send_bytes(json_file.text(reply).encode())
    except OSError:
        os._exit(0)
