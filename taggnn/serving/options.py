"""Options of a server, and of the processes behind it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from taggnn.serving.guard import LOOPBACK, is_loopback
from taggnn.serving.upload import Limits

MIB = 2**20
# What an answer below --reject is called; the same as in taggnn/io/loaded.py, which the server does not import.
NONE = "none of these"


@dataclass(frozen=True)
class Options:
    """Of a server.

    Args:
        host: address to listen on.
        port: its port; 0 for a free one.
        workers: processes that hold the model.
        waiting: requests that may wait in addition to those in work.
        seconds: that one clip may take, from the file to its answer.
        limits: of what a client sends.
        top: how many classes an answer has, unless the request says otherwise.
        hosts: names by which it may be called, in addition to those of loopback; empty: any, where ``host`` is not loopback.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    waiting: int = 16
    seconds: float = 120.0
    limits: Limits = field(default_factory=Limits)
    top: int = 5
    hosts: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, value, least in (
            ("workers", self.workers, 1),
            ("waiting", self.waiting, 0),
            ("top", self.top, 1),
            ("port", self.port, 0),
        ):
            if value < least:
                raise ValueError(f"--{name} {value}: must be {least} or more")
        if self.port > 65535:
            raise ValueError(f"--port {self.port}: must be 65535 or less")
        for name, seconds in (("seconds", self.seconds), ("upload_seconds", self.limits.seconds)):
            if not seconds > 0:
                raise ValueError(f"--{name} {seconds}: must be above 0")
        if self.limits.size < 1:
            raise ValueError("--max_mib: must be above 0")

    @property
    def names(self) -> Collection[str]:
        """Names by which the server may be called; none for any."""
        if not is_loopback(self.host) and not self.hosts:
            return ()
        return (*LOOPBACK, self.host, *self.hosts)


def add_options(add: Callable[..., Any], port: int) -> None:
    """Adds RUN and the options of a server to the command line of a program, by its parser's ``add_argument``.

    Args:
        add: the method.
        port: default of ``--port``.
    """
    plain, limits = Options(), Limits()
    add("run", type=str, help="a run's folder or checkpoint, or what taggnn.export wrote")
    add("--dataset", type=str | None, default=None, help="for a file of TAG-Head's authors: which data set it is of")
    add("--trust", action="store_true", help="allow the file to name your own code, which is then imported and run")
    add("--host", type=str, default=plain.host, help="address to listen on; 0.0.0.0: all, so that others can reach it")
    add("--port", type=int, default=port, help="its port; 0: a free one")
    add("--hosts", type=list[str], default=[], help="further names it may be called by: a,b; others are refused")
    add("--workers", type=int, default=plain.workers, help="processes that hold the model, each with its own copy")
    add("--threads", type=int | None, default=None, help="threads of each for PyTorch; null: its own choice")
    add("--device", type=str | None, default=None, help="cpu, cuda, cuda:1; null: a GPU if there is one")
    add("--waiting", type=int, default=plain.waiting, help="requests that may wait; more get 503 and when to try again")
    add("--seconds", type=float, default=plain.seconds, help="that a clip may take, from the file to its answer")
    add("--max_mib", type=float, default=limits.size / MIB, help="largest upload, in MiB")
    add("--upload_seconds", type=float, default=limits.seconds, help="that sending it may take")
    add(
        "--reject",
        type=float | Literal["calibrated"] | None,
        default=None,
        help=f"smallest probability of an answer, below it is '{NONE}'; calibrated: as taggnn.evaluate chose it; null: none",
    )
    add("--top", type=int, default=plain.top, help="how many classes an answer has, unless a request says otherwise")


def options_of(given: Any) -> Options:
    """The options of a command line.

    Raises:
        ValueError: one is out of range; the message begins with its name.
    """
    limits = Limits(int(given.max_mib * MIB), given.upload_seconds)
    names = ("host", "port", "workers", "waiting", "seconds", "top", "hosts")
    return Options(**{name: given[name] for name in names}, limits=limits)


def job_of(given: Any) -> dict[str, Any]:
    """What a process needs to open the model; arguments of ``prediction.opened``, by name.

    Raises:
        ValueError: fewer than one thread.
    """
    if given.threads is not None and given.threads < 1:
        raise ValueError(f"--threads {given.threads}: must be 1 or more")
    return {name: given[name] for name in ("run", "dataset", "trust", "device", "threads", "seconds", "reject")}
