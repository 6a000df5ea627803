"""What a server does otherwise on Windows: bytes stay as they are, and no two servers have one port."""

import asyncio
import os
import socket

import pytest

from taggnn.serving import server, upload
from taggnn.serving.upload import Limits


@pytest.mark.parametrize("binary", [None, 1 << 27])
def test_an_upload_is_opened_as_bytes_where_files_may_be_text(tmp_path, monkeypatch, binary):
    flags, opened = [], os.open

    def spy(path, given, mode=0o777):
        flags.append(given)
        return opened(path, given & ~(1 << 27), mode)

    async def chunks():
        yield b"a\r\nb\n\x1a"

    if binary is not None:
        monkeypatch.setattr(os, "O_BINARY", binary, raising=False)
    monkeypatch.setattr(upload.os, "open", spy)
    headers = {"content-type": "application/octet-stream"}
    found = asyncio.run(upload.receive(chunks(), headers, tmp_path, Limits(size=100, seconds=10), [".mp4"]))
    assert found.path.read_bytes() == b"a\r\nb\n\x1a"
    assert [bool(given & (1 << 27)) for given in flags] == [binary is not None]


@pytest.mark.parametrize(("platform", "reused"), [("linux", True), ("win32", False)])
def test_a_port_in_use_is_not_shared(monkeypatch, platform, reused):
    monkeypatch.setattr(server.sys, "platform", platform)
    with server.bound("127.0.0.1", 0) as made:
        assert bool(made.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) == reused
