"""The routes, with processes that are objects here."""

import asyncio
import threading
from pathlib import Path

import pytest

from taggnn.serving.application import Service, application
from taggnn.serving.guard import HEADERS
from taggnn.serving.pool import Pool
from taggnn.serving.upload import Limits
from taggnn.serving.worker import TooSlow, WorkerLost

ABOUT = {"classes": ["a", "b"], "input": {"endings": [".mp4", ".npy"]}}


class Fake:
    """Answers with what it was sent; ``fate`` is raised, or waited for, first."""

    def __init__(self, fate=None):
        self.fate, self.asked, self.starts = fate, [], 0

    def ask(self, request):
        path = Path(request["path"])
        self.asked.append((request, path.read_bytes()))
        if isinstance(self.fate, Exception):
            raise self.fate
        if self.fate is not None:
            self.fate.wait(20)
        if b"bad" in self.asked[-1][1]:
            return {"error": "not a video"}
        if b"fault" in self.asked[-1][1]:
            return {"failed": "KeyError"}
        return {"top": [{"class": "ä<b>", "label": 0, "probability": 0.5}]}

    def start(self):
        self.starts += 1
        self.fate = None

    def kill(self):
        pass

    stop = kill


@pytest.fixture
def served(tmp_path):
    def made(worker=None, waiting=4, **limits):
        worker = worker or Fake()
        pool = Pool([worker], waiting)
        service = Service(pool, tmp_path, ABOUT, Limits(**{"size": 1000, "seconds": 120.0, **limits}), (".mp4", ".npy"))
        return application(service), worker, service

    return made


@pytest.mark.parametrize("piece", [1, 7, 2**16])
@pytest.mark.parametrize("kind", ["raw", "form"])
def test_a_clip_is_answered_and_its_file_removed(served, client, form_of, tmp_path, kind, piece):
    app, worker, _ = served()
    clip = bytes(range(256)) + b"\r\n--b0undar"
    body, headers = (clip, {"content-type": "text/html"}) if kind == "raw" else form_of([("x", "../é/jump.mp4", clip)])
    answer = client(app)("POST", "/predict?top=3", body, headers, piece=piece)
    assert answer.status == 200
    assert answer.json == {
        "file": None if kind == "raw" else "jump.mp4",
        "top": [{"class": "ä<b>", "label": 0, "probability": 0.5}],
    }
    (request, received), *more = worker.asked
    assert not more
    assert received == clip
    assert request["top"] == 3
    path = Path(request["path"])
    assert path.parent == tmp_path
    assert "jump" not in path.name
    assert path.suffix == ("" if kind == "raw" else ".mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("x.NPY", ".npy"), ("x.exe", ""), ("..", ""), ("", ""), ("a\\b\\c.mp4", ".mp4"), ("x.npy/../../y", "")],
)
def test_of_a_name_only_a_known_ending_is_used(served, client, form_of, tmp_path, name, suffix):
    app, worker, _ = served()
    assert client(app)("POST", "/predict", *form_of([("x", name, b"clip")])).status == 200
    path = Path(worker.asked[0][0]["path"])
    assert (path.parent, path.suffix) == (tmp_path, suffix)
    assert path.stem.isalnum()


def test_a_body_that_announces_too_much_is_refused_unread(served, client, tmp_path):
    app, worker, _ = served()
    answer = client(app)("POST", "/predict", b"x" * 5000, {"content-length": "5000", "expect": "100-continue"})
    assert (answer.status, answer.read, worker.asked) == (413, 0, [])
    assert answer.headers["connection"] == "close"
    assert "1,000" in answer.json["error"]


@pytest.mark.parametrize("kind", ["raw", "form"])
@pytest.mark.parametrize("stated", [None, "10"])
def test_a_body_that_becomes_too_large_is_refused_on_the_way(served, client, form_of, tmp_path, kind, stated):
    app, worker, _ = served()
    # What is sent after the refusal is read for a while, so that the client sees the answer, and not kept.
    endless = (b"x" * 500 for _ in range(100))
    start, headers = form_of([("x", "c.mp4", b"")])
    begin = start.split(b"\r\n--")[0] if kind == "form" else b""
    answer = client(app)(
        *("POST", "/predict", [begin, *endless]),
        {**(headers if kind == "form" else {}), **({"content-length": stated} if stated else {})},
    )
    assert (answer.status, worker.asked) == (413, [])
    assert answer.parts == 2
    assert list(tmp_path.iterdir()) == []


def test_a_slow_body_is_given_up(served, client, tmp_path):
    app, worker, _ = served(seconds=0.05)
    answer = client(app)("POST", "/predict", [b"x"] * 50, pause=0.02)
    assert (answer.status, worker.asked) == (408, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "parts",
    [[], [("x", None, b"clip")], [("x", "a", b"1"), ("y", "b", b"2")], [("x", None, b"1" * 2000)], [("x", "a", b"")]],
    ids=["no part", "no file", "two files", "a long field", "an empty file"],
)
def test_a_form_without_one_clip_is_refused(served, client, form_of, tmp_path, parts):
    app, worker, _ = served(size=10_000)
    answer = client(app)("POST", "/predict", *form_of(parts))
    assert (answer.status, worker.asked, list(tmp_path.iterdir())) == (400, [], [])


@pytest.mark.parametrize("where", ["name", "value", "lines"])
def test_headers_of_a_form_that_do_not_end_are_refused(served, client, form_of, tmp_path, where):
    app, worker, _ = served(size=200_000)
    start, headers = form_of([("x", "c.mp4", b"")])
    line = start.index(b"\r\n") + 2
    long = {"name": b"a" * 20_000, "value": b"a: " + b"b" * 20_000, "lines": b"ab: cd\r\n" * 3000}[where]
    answer = client(app)("POST", "/predict", [start[:line] + long, start[line:]], headers)
    assert (answer.status, worker.asked, list(tmp_path.iterdir())) == (400, [], [])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"nothing of a form", "multipart/form-data; boundary=x"),
        (b"clip", "multipart/form-data"),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\ncut',
            "multipart/form-data; boundary=x",
        ),
        (b"", "video/mp4"),
    ],
    ids=["no form", "no boundary", "cut off", "empty"],
)
def test_a_broken_body_is_refused(served, client, tmp_path, body, kind):
    app, worker, _ = served()
    answer = client(app)("POST", "/predict", body, {"content-type": kind})
    assert (answer.status, worker.asked, list(tmp_path.iterdir())) == (400, [], [])
    assert answer.json["error"]


@pytest.mark.parametrize("top", ["0", "x", "-1", "1.5", "９", "9" * 400])
def test_an_impossible_number_of_classes_is_refused(served, client, top):
    app, worker, _ = served()
    assert client(app)("POST", f"/predict?top={top}", b"clip").status == 400
    assert worker.asked == []


@pytest.mark.parametrize(
    ("worker", "body", "status"),
    [
        (Fake(), b"bad", 422),
        (Fake(), b"fault", 500),
        (Fake(TooSlow("no answer after 9 seconds")), b"clip", 504),
        (Fake(WorkerLost("the process was ended by SIGSEGV")), b"clip", 422),
    ],
    ids=["unreadable", "a fault", "too slow", "a lost process"],
)
def test_a_bad_clip_does_not_end_the_server(served, request_of, tmp_path, worker, body, status):
    app, worker, service = served(worker)

    async def both():
        first = await request_of(app, "POST", "/predict", body)
        return first, await request_of(app, "POST", "/predict", b"clip"), service.pool.running

    first, second, running = asyncio.run(both())
    assert first.status == status
    assert first.json["error"]
    assert (second.status, running, service.pool.pending) == (200, 1, 0)
    assert worker.starts == (status in (504, 422) and body == b"clip")
    assert list(tmp_path.iterdir()) == []


def test_too_many_requests_are_refused_and_may_come_again(served, request_of):
    hold = threading.Event()
    app, worker, _ = served(Fake(hold), waiting=1)

    async def many():
        first = [asyncio.create_task(request_of(app, "POST", "/predict", b"clip")) for _ in range(2)]
        while not worker.asked:
            await asyncio.sleep(0.01)
        refused = await request_of(app, "POST", "/predict", b"clip")
        health = await request_of(app, "GET", "/health")
        hold.set()
        answers = await asyncio.gather(*first)
        return refused, health, answers, await request_of(app, "POST", "/predict", b"clip")

    refused, health, answers, last = asyncio.run(many())
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert (health.status, health.json["requests"]) == (200, 2)
    assert [answer.status for answer in [*answers, last]] == [200] * 3
    assert len(worker.asked) == 3


def test_a_client_that_left_costs_no_work(served, request_of):
    hold = threading.Event()
    app, worker, _ = served(Fake(hold))

    async def leave():
        busy = asyncio.create_task(request_of(app, "POST", "/predict", b"clip"))
        while not worker.asked:
            await asyncio.sleep(0.01)
        # Its body has ended and it waits; what it receives next is that the client has gone.
        gone = asyncio.create_task(request_of(app, "POST", "/predict", b"left", leaves=True))
        await asyncio.sleep(0.05)
        hold.set()
        await asyncio.gather(busy, gone)
        return await request_of(app, "GET", "/health")

    assert asyncio.run(leave()).json["requests"] == 0
    assert [content for _, content in worker.asked] == [b"clip"]


def test_what_the_model_is(served, client):
    app, _, _ = served()
    for address in ("/", "/model"):
        answer = client(app)("GET", address)
        assert answer.status == 200
        assert answer.json == {**ABOUT, "limits": {"bytes": 1000, "waiting": 4}}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/predict", 405), ("POST", "/health", 405), ("GET", "/../etc/passwd", 404)]
)
def test_other_addresses_are_refused_as_json(served, client, method, path, status):
    answer = client(served()[0])(method, path)
    assert answer.status == status
    assert answer.json["error"]


@pytest.mark.parametrize("path", ["/", "/health", "/nowhere", "/predict"])
def test_every_response_has_the_headers(served, client, path):
    answer = client(served()[0])("GET", path, headers={"origin": "https://other.example"})
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "", "127.0.0.1.evil.example", "["])
def test_another_name_is_refused(served, client, host):
    app, worker, _ = served()
    assert client(app)("POST", "/predict", b"clip", host=host).status == 421
    assert worker.asked == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:8000", "[::1]:8000"])
def test_the_names_of_loopback_are_answered(served, client, host):
    assert client(served()[0])("GET", "/health", host=host).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://other.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9000"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8000"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({}, 200),
    ],
)
def test_pages_of_other_sites_cannot_send(served, client, headers, status):
    app, worker, _ = served()
    assert client(app)("POST", "/predict", b"clip", headers).status == status
    assert len(worker.asked) == (status == 200)
