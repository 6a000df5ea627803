"""Probes many files in several processes, and survives files that crash or hang them.

Each process is a module that calls ``serve``, for videos ``python -m taggnn.data.audit.scan``: it reads one job per line and
answers with one line, so it imports only the reader, and a crash identifies the file.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from taggnn.data.audit.facts import Cut, FileFacts, is_current, path_of
from taggnn.data.audit.probe import VideoInfo, probe
from taggnn.data.image_folders import state_of

Cuts = Sequence[Cut]
# Extra time for each byte of a file, for slow disks and long videos.
SECONDS_A_BYTE = 1e-6


def scan(
    files: Mapping[str, Cuts],
    depth: str = "packets",
    workers: int = 1,
    limit: float = 60.0,
    known: Mapping[str, FileFacts] | None = None,
    command: Sequence[str] = (sys.executable, "-m", "taggnn.data.audit.scan"),
    kind: type[FileFacts] = VideoInfo,
) -> Iterator[tuple[str, FileFacts]]:
    """Probes files and yields (file, info) as each is done.

    A file at which the process dies twice, or takes too long, is "unreadable" with that reason; the scan continues in a new
    process.

    Args:
        files: ``facts.file_key`` -> the cuts to count in it.
        depth: one of ``facts.DEPTHS``.
        workers: processes, 1 or more.
        limit: seconds for a file, and one second more for each megabyte.
        known: results of an earlier scan, used for unchanged files.
        command: command of a process.
        kind: class of the facts that it answers with.

    Raises:
        ValueError: ``workers`` below 1, or ``limit`` not above 0.
        RuntimeError: the processes cannot be started.
    """
    if workers < 1 or not limit > 0:
        raise ValueError(f"workers {workers}, limit {limit}: expected 1 or more workers and a limit above 0 seconds")
    jobs, ended = iter(files.items()), threading.Event()
    done: queue.Queue[Any] = queue.Queue(maxsize=1000)
    lock, readers = threading.Lock(), [_Reader(command, depth, limit, kind) for _ in range(min(workers, len(files)))]

    def work(reader: _Reader) -> None:
        try:
            while not ended.is_set():
                with lock:
                    path, cuts = next(jobs, (None, ()))
                if path is None:
                    break
                stored = (known or {}).get(path)
                valid = stored is not None and is_current(stored, path, cuts, depth)
                _put(done, (path, stored if valid else reader.probe(path, cuts)), ended)
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


def serve(look: Callable[..., FileFacts] = probe) -> None:
    """The main loop of a scanning process: answers each job on standard input with a line, until input ends.

    Args:
        look: probes a file; tests pass one that crashes.
    """
    # Output of a library must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Ctrl-C reaches every process of the terminal; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            info = look(job["path"], job["cuts"], job["depth"])
        except Exception as error:
            info = FileFacts("unreadable", f"reading it failed ({type(error).__name__}: {error})", depth=job["depth"])
        print(json.dumps(vars(info)), file=answers, flush=True)


class _Reader:
    """One scanning process, started on first use and again after it died."""

    def __init__(self, command: Sequence[str], depth: str, limit: float, kind: type[FileFacts]):
        self.command, self.depth, self.limit, self.kind = command, depth, limit, kind
        self.process: subprocess.Popen | None = None
        self.closed = False

    def probe(self, path: str, cuts: Cuts) -> FileFacts | None:
        """The properties of a file; None after ``kill``."""
        try:
            limit = self.limit + SECONDS_A_BYTE * state_of(path_of(path))[0]
        except OSError:
            limit = self.limit
        # Twice: the first time another process may have used all the memory.
        code = 0
        for _ in range(2):
            info, code = self._ask({"path": path, "cuts": cuts, "depth": self.depth}, limit)
            if info is not None or self.closed:
                return info
        return self.kind("unreadable", f"the reader crashed at it ({_death(code)})", depth=self.depth)

    def kill(self) -> None:
        self.closed = True
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _ask(self, job: dict[str, Any], limit: float) -> tuple[FileFacts | None, int]:
        process = self.process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
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
        # A timer that has fired must be done before the next file.
        timer.join()
        info = self.kind(**json.loads(answer)) if answer.endswith("\n") else None
        if info is None or late.is_set():
            self.close()
        if info is None and late.is_set():
            info = self.kind("unreadable", f"given up after {limit:.0f} s", depth=self.depth)
        return info, process.returncode or 0

    def _start(self) -> subprocess.Popen:
        # The package is found as in this process, installed or not.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=null, env=env, encoding="utf-8")
        assert process.stdout is not None
        self.process = process
        if self.closed:
            process.kill()
        elif process.stdout.readline() != "ready\n" and not self.closed:
            process.kill()
            code = process.wait()
            raise RuntimeError(f"a scanning process ended as it began ({_death(code)}): {' '.join(self.command)}")
        return process


def _put(done: queue.Queue, item: Any, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            return done.put(item, timeout=0.2)
        except queue.Full:
            continue


def _death(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"signal {names.get(-code, -code)}"


if __name__ == "__main__":
    serve(partial(probe, frame_rate=float(sys.argv[1]) if sys.argv[1:] else None))
