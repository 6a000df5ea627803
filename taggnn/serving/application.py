"""The routes of a server: ``POST /predict``, ``GET /health``, ``GET /model``, and what a page adds.

request -> Guard -> admitted, or 503 -> received to a file, or 408, 413, 400 -> a process of the pool -> JSON, or 422, 504
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from taggnn.runtime import json_file
from taggnn.serving.extra import imported
from taggnn.serving.guard import LOOPBACK, Guard
from taggnn.serving.pool import Abandoned, Busy, Pool
from taggnn.serving.upload import Limits, Refused, Upload, check_length, receive, remove
from taggnn.serving.worker import TooSlow, WorkerLost

log = logging.getLogger(__name__)

# How much of a refused body is read, and for how long, before the connection is closed: a client that is still sending would
# otherwise lose the answer.
LINGER_SECONDS, LINGER_BYTES = 2.0, 16 * 2**20
# The status that nginx logs for a client that has left; nobody receives it.
CLIENT_LEFT = 499
# Key in the scope of a request whose whole body was read.
_READ = "taggnn.read"


@dataclass
class Service:
    """What routes work with.

    Args:
        pool: the processes.
        folder: for the files of requests.
        about: what the model is, as a process reported it.
        limits: of a request's body.
        endings: of files that the model's source reads.
        top: how many classes an answer has.
    """

    pool: Pool
    folder: Path
    about: Mapping[str, Any]
    limits: Limits = field(default_factory=Limits)
    endings: Collection[str] = ()
    top: int = 5

    async def uploaded(self, request: Any, file_needed: bool = True) -> Upload:
        """The clip of a request; the caller removes its file.

        Raises:
            Refused: as ``receive``.
        """
        try:
            chunks = _until_the_end(request)
            return await receive(chunks, request.headers, self.folder, self.limits, self.endings, file_needed)
        except imported("starlette.requests").ClientDisconnect:
            raise Refused(CLIENT_LEFT, "the client left") from None

    async def ask(self, request: Any, question: dict[str, Any]) -> dict[str, Any]:
        """The answer of a process to a request.

        Raises:
            Refused: no answer.
        """
        try:
            answer = await self.pool.ask(question, request.is_disconnected)
        except Abandoned:
            raise Refused(CLIENT_LEFT, "the client left") from None
        except TooSlow as slow:
            raise Refused(504, f"the clip was given up: {slow}") from None
        except WorkerLost as lost:
            raise Refused(422, f"the clip could not be read: {lost}") from None
        if "failed" in answer:
            raise Refused(500, f"a fault of this server ({answer['failed']}); its log has more")
        return answer


def application(service: Service, routes: Sequence[Any] = (), hosts: Collection[str] = LOOPBACK) -> Any:
    """The ASGI application.

    Args:
        service: what routes work with.
        routes: further ones of Starlette, which come first.
        hosts: names by which the server may be called; empty: any.

    Raises:
        ImportError: the extra is not installed.
    """
    applications, routing = imported("starlette.applications"), imported("starlette.routing")
    exceptions = imported("starlette.exceptions")
    own = [
        routing.Route("/predict", admitted(service, predict), methods=["POST"]),
        routing.Route("/health", _health(service), methods=["GET"]),
        routing.Route("/model", _model(service), methods=["GET"]),
        routing.Route("/", _model(service), methods=["GET"]),
    ]
    app = applications.Starlette(
        routes=[*routes, *own],
        exception_handlers={exceptions.HTTPException: _http_error, Exception: _fault},
    )
    return Guard(app, hosts)


def admitted(
    service: Service,
    answer: Callable[[Service, Any], Awaitable[Any]],
    refusal: Callable[[Refused, Any], Any] | None = None,
) -> Callable[[Any], Awaitable[Any]]:
    """A route for requests that take work: counted, and every refusal answered.

    Args:
        service: what it works with.
        answer: ``(service, request)`` -> response; raises ``Refused``.
        refusal: ``(refused, request)`` -> response; None: JSON.
    """

    async def route(request: Any) -> Any:
        try:
            with service.pool.admitted():
                # Before any of the body is read.
                check_length(request.headers, service.limits)
                return await answer(service, request)
        except Busy as busy:
            refused = Refused(503, "too many requests wait already", {"retry-after": str(busy.seconds)})
        except Refused as error:
            refused = error
        return (refusal or refusal_of)(refused, request)

    return route


async def predict(service: Service, request: Any) -> Any:
    """The classes of the clip in a request, as ``taggnn.predict --json`` gives them."""
    top = _top(request.query_params.get("top"), service)
    upload = await service.uploaded(request)
    try:
        answer = await service.ask(request, {"do": "predict", "path": str(upload.path), "top": top})
    finally:
        remove(upload)
    return as_json({"file": upload.name, **answer}, 422 if "error" in answer else 200)


def as_json(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
    """A response in JSON, whatever is in the names."""
    body = json_file.text(content).encode()
    return imported("starlette.responses").Response(body, status, headers, media_type="application/json")


def refusal_of(refused: Refused, request: Any) -> Any:
    """The response to a refused request, as JSON."""
    return Lingering(as_json({"error": refused.reason}, refused.status, refused.headers), request)


class Lingering:
    """An ASGI response that is sent at once and reads on for a while, so that a client that is still sending sees it.

    Args:
        response: of Starlette, with a body.
        request: what it answers.
    """

    def __init__(self, response: Any, request: Any) -> None:
        self.response = response
        response.headers["connection"] = "close"
        # A client that waits for "100 Continue" has sent nothing; of one that has sent all there is nothing more to come.
        self.waits = request.headers.get("expect", "").lower() == "100-continue" or request.scope.get(_READ, False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = self.response
        start = {"status": response.status_code, "headers": response.raw_headers}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": response.body, "more_body": not self.waits})
        if self.waits:
            return
        with suppress(asyncio.TimeoutError, OSError):
            await asyncio.wait_for(_discard(receive), LINGER_SECONDS)
        await send({"type": "http.response.body", "body": b""})


async def _until_the_end(request: Any) -> AsyncIterator[bytes]:
    """The body of a request; that all of it was read is noted."""
    async for chunk in request.stream():
        yield chunk
    request.scope[_READ] = True


async def _discard(receive: Any) -> None:
    read, more = 0, True
    while more and read < LINGER_BYTES:
        message = await receive()
        read += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


def _top(given: str | None, service: Service) -> int:
    if given is None:
        return service.top
    if not (given.isascii() and given.isdecimal() and 1 <= int(given[:9]) <= 10**6):
        raise Refused(400, f"top: expected a whole number from 1 on, got {given[:60]!r}")
    return int(given[:9])


def _health(service: Service) -> Callable[[Any], Awaitable[Any]]:
    begun = monotonic()

    async def health(request: Any) -> Any:
        pool = service.pool
        state = {"processes": pool.running, "requests": pool.pending, "seconds": round(monotonic() - begun)}
        if pool.running:
            return as_json({"status": "ok", **state})
        return as_json({"status": "starting", **state}, 503, {"retry-after": "5"})

    return health


def _model(service: Service) -> Callable[[Any], Awaitable[Any]]:
    async def about(request: Any) -> Any:
        limits = {"bytes": service.limits.size, "waiting": service.pool.most - len(service.pool.workers)}
        return as_json({**service.about, "limits": limits})

    return about


async def _http_error(request: Any, error: Any) -> Any:
    reason = {404: "no such address", 405: "this address does not take that method"}.get(
        error.status_code, error.detail
    )
    return as_json({"error": reason}, error.status_code, error.headers)


async def _fault(request: Any, error: Exception) -> Any:
    return as_json({"error": f"a fault of this server ({type(error).__name__}); its log has more"}, 500)
