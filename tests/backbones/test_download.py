import errno
import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from taggnn.backbones import build
from taggnn.backbones.download import CHUNK, Published, fetch
from taggnn.backbones.video import small
from taggnn.backbones.weights import load_published

CONTENT = bytes(range(256)) * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """One file on this machine; knows ranges and cuts connections on request.

    Attributes:
        content: the file.
        tag: its ETag; empty for none.
        cuts: after how many bytes of the body the coming answers break off; None: whole.
        ranges: whether it answers 206.
        requested: Range header of every request.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag, self.cuts, self.ranges, self.requested = CONTENT, '"one"', [], True, []
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, requested = self.server, self.headers.get("Range")
        server.requested.append(requested)
        if self.path != "/file.bin":
            return self.send_error(404)
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested and server.ranges else 0
        if self.headers.get("If-Range", server.tag) != server.tag:
            start = 0
        if start >= len(server.content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        if server.tag:
            self.send_header("ETag", server.tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None
        self.wfile.write(server.content[start:][:cut])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def url(server):
    return f"{server.address}/file.bin"


def test_a_file_is_fetched_once(server, tmp_path):
    for _ in range(2):
        path = fetch(Published(url(server), DIGEST), tmp_path / "cache")
        assert path == tmp_path / "cache" / "file.bin"
        assert path.read_bytes() == CONTENT
    assert server.requested == [None]
    assert {entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")} == {"file.bin"}


def test_it_goes_on_after_a_cut_connection(server, tmp_path):
    server.cuts = [1000, 500]
    assert fetch(Published(url(server), DIGEST), tmp_path).read_bytes() == CONTENT
    assert server.requested == [None, "bytes=1000-", "bytes=1500-"]


def test_it_goes_on_at_the_next_call(server, tmp_path):
    server.cuts = [1000, 0]
    with pytest.raises(ValueError, match=r"1,000 bytes of it are in .*file\.bin\.part"):
        fetch(Published(url(server), DIGEST), tmp_path)
    assert not (tmp_path / "file.bin").exists()
    assert fetch(Published(url(server), DIGEST), tmp_path).read_bytes() == CONTENT
    assert server.requested == [None, "bytes=1000-", "bytes=1000-"]


@pytest.mark.parametrize("change", ["another version", "no ranges"])
def test_it_begins_anew_where_it_cannot_go_on(server, tmp_path, change):
    server.cuts = [1000, 0]
    with pytest.raises(ValueError, match="1,000 bytes"):
        fetch(Published(url(server)), tmp_path)
    if change == "no ranges":
        server.ranges = False
    else:
        server.content, server.tag = CONTENT[::-1], '"two"'
    assert fetch(Published(url(server)), tmp_path).read_bytes() == server.content


def test_without_version_and_digest_nothing_is_put_together(server, tmp_path):
    server.tag, server.cuts = "", [1000, 0]
    with pytest.raises(ValueError, match="could not be downloaded"):
        fetch(Published(url(server)), tmp_path)
    assert fetch(Published(url(server)), tmp_path).read_bytes() == CONTENT
    assert server.requested == [None, None, None]


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(Published(url(server), DIGEST), tmp_path).read_bytes() == CONTENT


def test_a_wrong_digest_is_reported_and_nothing_is_left(server, tmp_path):
    with pytest.raises(ValueError, match=rf"sha256 is {DIGEST[:8]}\.\., that of http.* 01234567\.") as caught:
        fetch(Published(url(server), "01234567"), tmp_path)
    assert f"put it at {tmp_path / 'file.bin'}" in str(caught.value)
    assert not (tmp_path / "file.bin").exists()
    assert not (tmp_path / "file.bin.part").exists()


def test_a_damaged_file_in_the_cache_is_reported(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"file\.bin is not what was published.*Remove it"):
        fetch(Published(url(server), DIGEST), tmp_path)
    assert server.requested == []


def test_a_missing_file_and_a_closed_host_say_what_to_put_where(server, tmp_path):
    gone = Published(f"{server.address}/gone.pth")
    with pytest.raises(ValueError, match=r"gone\.pth could not be downloaded.*404") as caught:
        fetch(gone, tmp_path)
    assert f"put it at {tmp_path / 'gone.pth'}" in str(caught.value)
    closed = Published("http://127.0.0.1:9/weights.pth")
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9 is not reachable.*put it at .*weights\.pth"):
        fetch(closed, tmp_path)


def test_a_full_disk_is_no_fault_of_the_host(server, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device after 25,600 bytes of http.*file\.bin\.part"):
        fetch(Published(url(server), DIGEST), tmp_path)


def test_a_shared_cache_is_only_read(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    assert fetch(Published(url(server), DIGEST), tmp_path).read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]
    assert server.requested == []


def test_two_that_want_the_same_file_download_it_once(server, tmp_path):
    threads = [threading.Thread(target=fetch, args=(Published(url(server), DIGEST), tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requested == [None]


def test_more_than_one_chunk(server, tmp_path):
    server.content = CONTENT * (2 * CHUNK // len(CONTENT) + 1)
    assert fetch(Published(url(server)), tmp_path).stat().st_size == len(server.content) > 2 * CHUNK


def test_the_digest_in_a_name():
    assert Published("https://a.org/b/net-449a7af9.pth?x=1").sha256 == "449a7af9"
    assert Published("https://a.org/b/net-449a7af9.pth", DIGEST).sha256 == DIGEST
    assert Published("https://a.org/SLOW_8x8_R50.pyth").sha256 == ""
    assert Published("https://a.org/r2plus1d-checkpoint.pth").sha256 == ""


def test_weights_come_from_the_cache_of_torch_hub(server, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    trained = build("small", width=2)
    torch.save(trained.state_dict(), tmp_path / "trained.pth")
    server.content = (tmp_path / "trained.pth").read_bytes()
    module = small.Small(width=2)
    load_published(module, "default", "small", Published(url(server)))
    assert torch.equal(module.stem[0].weight, trained.stem[0].weight)
    assert (tmp_path / "checkpoints" / "file.bin").exists()
