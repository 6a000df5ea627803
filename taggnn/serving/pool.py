"""Processes that share the requests of a server, and how many requests may wait for them."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any

from taggnn.serving.worker import Worker, WorkerLost

log = logging.getLogger(__name__)

# Seconds between attempts to start a process that does not start.
PAUSE = 5.0


class Busy(Exception):
    """As many requests as are allowed are in work or waiting.

    Args:
        seconds: after which it is worth trying again, an estimate.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Abandoned(Exception):
    """The client has left before its request began."""


class Pool:
    """Gives each request to a free process, in order of arrival.

    Args:
        workers: the processes, started.
        waiting: requests that may wait, or be uploading, in addition to those in work.
    """

    def __init__(self, workers: Sequence[Worker], waiting: int) -> None:
        self.workers, self.most = list(workers), len(workers) + waiting
        self.pending, self.running = 0, len(self.workers)
        self._free: asyncio.Queue[Worker] = asyncio.Queue()
        for worker in self.workers:
            self._free.put_nowait(worker)
        self._threads = ThreadPoolExecutor(len(self.workers), "taggnn.pool")
        self._restarts: set[asyncio.Task[None]] = set()
        self._seconds = 1.0
        self._closed = False

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Counts a request for the time of the block.

        Raises:
            Busy: too many are counted.
        """
        if self.pending >= self.most:
            raise Busy(max(1, math.ceil(self._seconds * self.pending / len(self.workers))))
        self.pending += 1
        try:
            yield
        finally:
            self.pending -= 1

    async def ask(self, request: dict[str, Any], left: Callable[[], Awaitable[bool]] | None = None) -> dict[str, Any]:
        """The answer of the next free process.

        Args:
            request: for the process.
            left: whether the client has left, looked at when a process is free.

        Raises:
            WorkerLost: the process ended or was too slow; another one is started.
            Abandoned: the client has left.
        """
        worker = await self._free.get()
        gone = False
        try:
            gone = left is not None and await left()
        except BaseException:
            self._free.put_nowait(worker)
            raise
        if gone:
            self._free.put_nowait(worker)
            raise Abandoned
        # Shielded: where the task of the request is cancelled, the process is still at work.
        return await asyncio.shield(self._work(worker, request))

    async def _work(self, worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
        begun = monotonic()
        try:
            answer = await self._in_thread(worker.ask, request)
        except WorkerLost as lost:
            log.warning("%s; it is started again", lost)
            self.running -= 1
            restart = asyncio.create_task(self._restart(worker))
            self._restarts.add(restart)
            restart.add_done_callback(self._restarts.discard)
            raise
        self._free.put_nowait(worker)
        self._seconds += 0.1 * (monotonic() - begun - self._seconds)
        return answer

    async def _restart(self, worker: Worker) -> None:
        while not self._closed:
            try:
                await self._in_thread(worker.start)
            except (ValueError, OSError, WorkerLost) as error:
                log.error("a process does not start: %s", error)
                await asyncio.sleep(PAUSE)
                continue
            self.running += 1
            self._free.put_nowait(worker)
            return

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Ends the processes, those at work too."""
        self._closed = True
        for worker in self.workers:
            worker.kill()
        # Threads that waited for an answer see that there is none.
        self._threads.shutdown(cancel_futures=True)
        for worker in self.workers:
            worker.stop()
