"""Runs a server: the socket, the processes, uvicorn, and a graceful end."""

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from taggnn.runtime.printable import one_line
from taggnn.runtime.signals import Watch
from taggnn.serving.application import Service, application
from taggnn.serving.extra import imported, require
from taggnn.serving.guard import is_loopback
from taggnn.serving.options import Options
from taggnn.serving.pool import Pool
from taggnn.serving.worker import Job, Worker, WorkerLost

# Connections at a time, before uvicorn refuses them itself: those that have not sent a whole request count too.
CONNECTIONS = 1000
# Seconds that requests in work have after a signal to end.
GRACE = 30


def run(job: Job, options: Options, routes: Callable[[Service], Sequence[Any]] | None = None) -> None:
    """Serves until a signal to end; requests in work are answered first.

    Args:
        job: of each process.
        options: see there.
        routes: makes further routes.

    Raises:
        ImportError: the extra is not installed.
        OSError: the address cannot be used.
        ValueError: the job cannot be built.
        StopRequested, KeyboardInterrupt: a signal ended it.
    """
    require()
    address = bound(options.host, options.port)
    with address, Watch(), tempfile.TemporaryDirectory(prefix="taggnn-serve-") as folder:
        workers = [Worker(job, options.seconds) for _ in range(options.workers)]
        try:
            about, *_ = [started(worker) for worker in workers]
            service = Service(
                Pool(workers, options.waiting),
                Path(folder),
                about,
                options.limits,
                about["input"]["endings"],
                options.top,
            )
            app = application(service, routes(service) if routes else (), options.names)
            try:
                _announce(address, options)
                _serve(app, address)
            finally:
                service.pool.close()
        finally:
            for worker in workers:
                worker.stop()


def started(worker: Worker) -> dict[str, Any]:
    """Starts a process; as ``Worker.start``, with a message for people where it is lost."""
    try:
        return worker.start()
    except WorkerLost as lost:
        raise ChildProcessError(f"the process that holds the model did not start: {lost}") from None


def bound(host: str, port: int) -> socket.socket:
    """A socket with an address, which does not listen yet: until the model is there a client is refused instead of waiting.

    Raises:
        OSError: names the address.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.socket(family)
        try:
            if sys.platform != "win32":
                # After a restart the port is free at once. On Windows it would let two servers have one port.
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno) if error.errno else str(error), f"{host}:{port}") from None
    return made


def _serve(app: Any, address: socket.socket) -> None:
    uvicorn = imported("uvicorn")
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
        # The address of a client is not used, so no header may state it.
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[address])


def _announce(address: socket.socket, options: Options) -> None:
    host, port = address.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"serving   http://{shown}:{port}", flush=True)
    if not is_loopback(host):
        anyone = "" if options.names else ", under any name"
        print(
            one_line(
                f"taggnn: {host} is not loopback: everybody who reaches this machine can send clips{anyone}; there is no "
                "password and no encryption, so put a server in front of it that has them"
            ),
            file=sys.stderr,
        )
