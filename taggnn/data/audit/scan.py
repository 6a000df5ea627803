"""Examines many video files in several processes, and outlives those that a file crashes or hangs.

Each process is ``python -m taggnn.data.audit.scan``: it reads one job a line and answers with one line, so it loads no more
than the decoder, and a crash says which file it was.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from taggnn.data.audit.probe import Cut, VideoInfo, is_current, probe

Cuts = Sequence[Cut]
# Slow disks and long videos: a file may take this much longer for each of its bytes.
SECONDS_A_BYTE = 1e-6


def scan(
    files: Mapping[str, Cuts],
    depth: str = "packets",
    workers: int = 1,
    limit: float = 60.0,
    known: Mapping[str, VideoInfo] | None = None,
    command: Sequence[str] = (sys.executable, "-m", "taggnn.data.audit.scan"),
) -> Iterator[tuple[str, VideoInfo]]:
    """Examines files and yields (file, facts) as each is done.

    A file at which the process dies twice, or takes too long, is "unreadable" with that reason; the scan goes on in a
    fresh process.

    Args:
        files: path -> the cuts to count in it.
        depth: one of ``facts.DEPTHS``.
        workers: processes, 1 or more.
        limit: seconds a file may take, and one second more for each megabyte.
        known: facts of an earlier scan, used where the file has not changed since.
        command: what starts a process.

    Raises:
        ValueError: ``workers`` below 1, or ``limit`` not above 0.
        RuntimeError: the processes cannot be started.
    """
    if workers < 1 or not limit > 0:
        raise ValueError(f"workers {workers}, limit {limit}: expected 1 or more workers and a limit above 0 seconds")
    jobs, done, ended = iter(files.items()), queue.Queue(maxsize=1000), threading.Event()
    lock, readers = threading.Lock(), [_Reader(command, depth, limit) for _ in range(min(workers, len(files)))]

    def work(reader: _Reader) -> None:
        try:
            while not ended.is_set():
                with lock:
                    path, cuts = next(jobs, (None, ()))
                if path is None:
                    break
                facts = (known or {}).get(path)
                if facts is None or not is_current(facts, path, cuts, depth):
                    facts = reader.probe(path, cuts)
                _put(done, (path, facts), ended)
        except BaseException as error:
            _put(done, error, ended)
        finally:
            reader.close()

    threads = [threading.Thread(target=work, args=(reader,), daemon=True) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(len(files)):
            found = done.get()
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        ended.set()
        for reader in readers:
            reader.kill()
        for thread in threads:
            thread.join()


def serve(look: Callable[..., VideoInfo] = probe) -> None:
    """The life of a scanning process: answers each job on standard input with a line of facts, until input ends.

    Args:
        look: what examines a file; the tests put one here that crashes.
    """
    # Whatever a library prints must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Ctrl-C reaches every process of the terminal; the one that asked for the scan ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            facts = look(job["path"], job["cuts"], job["depth"])
        except Exception as error:
            facts = VideoInfo("unreadable", f"reading it failed ({type(error).__name__}: {error})", depth=job["depth"])
        print(json.dumps(vars(facts)), file=answers, flush=True)


class _Reader:
    """One scanning process, started when it is first needed and again when it died."""

    def __init__(self, command: Sequence[str], depth: str, limit: float):
        self.command, self.depth, self.limit = command, depth, limit
        self.process: subprocess.Popen | None = None
        self.closed = False

    def probe(self, path: str, cuts: Cuts) -> VideoInfo | None:
        """VideoInfo about a file; None once ``kill`` was called."""
        try:
            limit = self.limit + SECONDS_A_BYTE * os.path.getsize(path)
        except OSError:
            limit = self.limit
        # Twice: the first death may have been another file's doing, which took all the memory.
        code = 0
        for _ in range(2):
            facts, code = self._ask({"path": path, "cuts": cuts, "depth": self.depth}, limit)
            if facts is not None or self.closed:
                return facts
        return VideoInfo("unreadable", f"the reader crashed at it ({_death(code)})", depth=self.depth)

    def kill(self) -> None:
        self.closed = True
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _ask(self, job: dict[str, Any], limit: float) -> tuple[VideoInfo | None, int]:
        if self.process is None:
            self._start()
        process = self.process
        late = threading.Event()

        def on_timeout() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, on_timeout)
        timer.start()
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        timer.cancel()
        # An alarm that has rung already must have done its work before the next file is asked for.
        timer.join()
        facts = VideoInfo(**json.loads(answer)) if answer.endswith("\n") else None
        if facts is None or late.is_set():
            self.close()
        if facts is None and late.is_set():
            facts = VideoInfo("unreadable", f"given up after {limit:.0f} s", depth=self.depth)
        return facts, process.returncode or 0

    def _start(self) -> None:
        # Found wherever this process found the package, installed or not.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe, away = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=away, env=env, encoding="utf-8")
        self.process = process
        if self.closed:
            process.kill()
        elif process.stdout.readline() != "ready\n" and not self.closed:
            process.kill()
            code = process.wait()
            raise RuntimeError(f"a scanning process ended as it began ({_death(code)}): {' '.join(self.command)}")


def _put(done: queue.Queue, item: Any, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            return done.put(item, timeout=0.2)
        except queue.Full:
            continue


def _death(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"signal {names.get(-code, -code)}"


if __name__ == "__main__":
    serve()
