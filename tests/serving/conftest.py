"""An application called without a network: ``client(app)("POST", "/predict", body)``."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from taggnn.serving.extra import NEEDED


@pytest.fixture(scope="session")
def extra():
    """Skips where the packages of the extra are not installed."""
    for name in NEEDED:
        pytest.importorskip(name, reason="needs the extra serve")


@dataclass
class Response:
    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    parts: int = 0
    read: int = 0

    @property
    def json(self):
        return json.loads(self.body)


def split(body, size):
    return [body[start : start + size] for start in range(0, len(body), size)] or [b""]


async def call(app, method, path, body=b"", headers=None, piece=2**16, pause=0.0, host="127.0.0.1:8000", leaves=False):
    """One request; ``body`` is sent in pieces, ``read`` counts the bytes taken; the client waits for the answer or ``leaves``."""
    found = Response()
    chunks = split(body, piece) if isinstance(body, bytes) else list(body)

    async def receive():
        if pause:
            await asyncio.sleep(pause)
        if not chunks and not leaves:
            await asyncio.Event().wait()
        if not chunks:
            return {"type": "http.disconnect"}
        chunk = chunks.pop(0)
        found.read += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message):
        if message["type"] == "http.response.start":
            found.status = message["status"]
            found.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            found.body += message.get("body", b"")
            found.parts += 1

    address, _, query = path.partition("?")
    raw = [(b"host", host.encode())] if host else []
    raw += [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http", "method": method, "path": address, "raw_path": address.encode(), "query_string": query.encode(),
        "headers": raw, "scheme": "http", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1), "root_path": "",
        "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    await app(scope, receive, send)
    return found


@pytest.fixture
def client(extra):
    return lambda app: lambda *words, **options: asyncio.run(call(app, *words, **options))


@pytest.fixture
def request_of(extra):
    """The same as a coroutine, for several requests at once."""
    return call


def form(parts, boundary="b0undary"):
    """A multipart form: (name, file name or None, content) -> body and headers."""
    out = b""
    for name, file, content in parts:
        named = "" if file is None else f'; filename="{file}"'
        out += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content + b"\r\n"
        )
    return out + f"--{boundary}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={boundary}"}


@pytest.fixture
def form_of():
    return form
