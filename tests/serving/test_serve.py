"""``python -m taggnn.serve`` as a program: a real socket, a real process with a model, and a signal to end."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys

import pytest

import taggnn
import taggnn.predict
import taggnn.serve
from taggnn.io import checkpoint, loaded
from taggnn.serving import options, prediction
from taggnn.types import VIDEO_AXES

ARCHITECTURE = {
    "backbone": {"name": "small", "width": 4},
    "head": {"name": "tag", "dim": 16, "encoder_heads": 4},
    "input": {
        "kind": "video",
        "axes": list(VIDEO_AXES),
        "shape": [3, 2, 16, 32],
        "options": {"frames": 2, "size": [16, 32]},
    },
    "classes": ["a", "b", "c"],
}


@pytest.fixture(scope="module")
def saved(checkpoint_of, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "best.ckpt"
    checkpoint.save(path, checkpoint_of(ARCHITECTURE)[1])
    return path


def test_a_server_answers_as_predict_and_ends_on_a_signal(extra, saved, videos, program, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "taggnn.serve", str(saved.parent), "--port", "0", "--max_mib", "1"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        line = server.stdout.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)$", line)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

        def post(body):
            connection.request("POST", "/predict", body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

        clip = videos / "test" / "left" / "left_000.mp4"
        told = json.loads(program(taggnn.predict, clip, "--checkpoint", saved, "--json").out)
        assert post(clip.read_bytes()) == (200, {**told, "file": None})
        bad = sorted((videos / "test" / "clockwise").glob("*"))
        statuses = {path.name: post(path.read_bytes() or b" ")[0] for path in bad if path.is_file()}
        assert set(statuses.values()) <= {200, 422}
        assert 422 in statuses.values()
        assert post(b"x" * (2**20 + 1))[0] == 413
        assert post(clip.read_bytes())[0] == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 143
        # The folder of uploads is removed.
        assert [path for path in tmp_path.iterdir() if path.name.startswith("taggnn-")] == []
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--port", "99999"), "--port 99999"),
        (("--workers", "0"), "--workers 0"),
        (("--seconds", "0"), "--seconds 0"),
        (("--threads", "0"), "--threads 0"),
        (("--max_mib", "0"), "--max_mib"),
    ],
    ids=lambda value: "",
)
def test_a_users_mistake_is_one_message(extra, program, saved, words, message):
    ended = program(taggnn.serve, saved, *words)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(("reject", "rejected"), [(None, None), (0.0, None), (1.0, True)])
def test_an_answer_below_the_threshold_is_rejected(saved, videos, reject, rejected):
    clip = str(videos / "test" / "left" / "left_000.mp4")
    answer, _ = prediction.build(str(saved), device="cpu", reject=reject)
    assert answer({"do": "predict", "path": clip, "top": 1}).get("rejected") is rejected
    with pytest.raises(ValueError, match="--reject"):
        prediction.build(str(saved), device="cpu", reject="calibrated")
    with pytest.raises(ValueError, match="views"):
        prediction.build(str(saved), device="cpu", views={"views": 0})


def test_without_the_extra_the_message_names_it(program, saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    ended = program(taggnn.serve, saved)
    assert ended.code == 2
    assert "taggnn[serve]" in ended.err


def test_names_for_the_server_are_a_list():
    given = taggnn.serve.read(["run", "--hosts", "a.example,b.example", "--host", "0.0.0.0"])
    assert options.options_of(given).names == ("localhost", "127.0.0.1", "::1", "0.0.0.0", "a.example", "b.example")
    assert options.options_of(taggnn.serve.read(["run", "--host", "0.0.0.0"])).names == ()
    assert options.NONE == loaded.NONE
    assert "evil.example" not in options.options_of(taggnn.serve.read(["run"])).names
