"""What every response has, and which requests are refused before they are looked at: an ASGI layer around the application.

A server on loopback can still be reached by web pages that are open on the same machine. A page of another site cannot read
answers (there is no CORS header), but could send clips, or reach the server under a name of its own that points to 127.0.0.1 (DNS
rebinding): both are refused.
"""

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Any, Send], Awaitable[None]]

# Nothing may be loaded from anywhere; pages have inline styles, pictures inside, and scripts of this server.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self' blob:; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": POLICY,
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    # With "no-referrer" a browser hides the origin of the page's own form, which is then taken for another site's.
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
_RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Adds headers, and refuses requests of other sites.

    Args:
        application: what is guarded.
        hosts: names by which the server may be called; empty: any.
    """

    def __init__(self, application: Application, hosts: Collection[str] = LOOPBACK) -> None:
        self.application, self.hosts = application, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return await self.application(scope, receive, send)

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message.get("headers", ())}
                more = [pair for pair in _RAW if pair[0] not in own]
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self.hosts and _name(host) not in self.hosts:
            return await _refuse(guarded, 421, "this server is not called by that name")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and _of_another_site(headers, host):
            return await _refuse(guarded, 403, "requests from pages of other sites are refused")
        return await self.application(scope, receive, guarded)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _name(host: str) -> str:
    """ "[::1]:8000" -> "::1", "localhost:8000" -> "localhost"."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _of_another_site(headers: MutableMapping[str, str], host: str) -> bool:
    # Browsers set it, and pages cannot; "none" is what a person does at the address bar.
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    # "null" is the origin of sandboxed pages and of files.
    return origin is not None and origin.partition("://")[2].lower() != host.lower()


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
