import json
import time
import types

import numpy as np
import pytest
import torch

import taggnn.predict
from taggnn.cli import live
from taggnn.cli.live import WAITING, Counts, _Reader, answered
from taggnn.data import frame_sampling
from taggnn.data.video.streaming import Frame, VideoError
from taggnn.data.video.windows import Plan, Windows


def stream_of(count, rate=10.0, error=None):
    def frames():
        for k in range(count):
            yield Frame(k / rate, np.full((1, 1, 3), k % 256, np.uint8), time.monotonic())
        if error:
            raise error

    return types.SimpleNamespace(frames=frames, end=count / rate, tick=1e-3, rate=rate)


class Model:
    """Answers with the number of the newest picture."""

    def __init__(self):
        self.calls = 0

    def picture(self, picture):
        return picture

    def windows(self, stream, plan):
        return Windows(plan, frame_sampling.Uniform(2))

    def probabilities(self, windows):
        self.calls += len(windows)
        return torch.stack([torch.tensor([float(window.numbers[-1])]) for window in windows])


def test_the_queue_keeps_the_newest_frames():
    counts = Counts()
    reader = _Reader(stream_of(500), counts, None)
    reader._thread.join(10)
    got = [frame for batch in reader.batches() for frame in batch]
    assert counts.frames == 500
    assert len(got) == WAITING
    assert counts.dropped == 500 - WAITING
    assert [round(10 * frame.time) for frame in got] == list(range(500 - WAITING, 500))


def test_of_several_windows_only_the_newest_is_answered():
    counts, model, slow = Counts(), Model(), stream_of(40)
    reader_of = _Reader

    class Whole(reader_of):
        """All frames are there before the first of them is taken."""

        def batches(self):
            self._thread.join(10)
            return super().batches()

    try:
        live._Reader = Whole
        found = list(answered(model, slow, Plan(10.0, 8, 2), counts))
    finally:
        live._Reader = reader_of
    assert [(window.stop, round(10 * last.time)) for window, last, _ in found] == [(40, 39)]
    assert counts.skipped == len(range(8, 41, 2)) - 1
    assert model.calls == 1


def test_an_error_of_the_stream_is_raised():
    with pytest.raises(VideoError, match="gone"):
        list(answered(Model(), stream_of(3, error=VideoError("x", "gone")), Plan(10.0, 2, 2), Counts()))


def test_it_ends_after_the_wanted_seconds():
    counts = Counts()
    list(answered(Model(), stream_of(100), Plan(10.0, 4, 2), counts, seconds=1.0))
    assert counts.frames == 10


def test_a_file_in_real_time(trained, videos, program):
    path = videos / "test" / "left" / "left_000.mp4"
    words = ["--checkpoint", trained[0], "--window", 0.3, "--stride", 0.15, "--json"]
    ended = program(taggnn.predict, path, "--live", *words)
    assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert rows
    assert rows[-1]["end"] == pytest.approx(8 / 12, abs=1e-3)
    assert all(row["delay"] >= 0 and row["label"] is not None for row in rows)
    assert "delay" in ended.err
    assert "frames 8" in ended.err


def test_a_missing_camera_is_a_message(trained, program):
    ended = program(taggnn.predict, "--camera", 97, "--checkpoint", trained[0], "--window", 1)
    assert ended.code == 2
    assert "camera 97" in ended.err


def test_a_camera_takes_no_file(trained, program):
    ended = program(taggnn.predict, "x.mp4", "--camera", 0, "--checkpoint", trained[0], "--window", 1)
    assert ended.code == 2
    assert "--camera 0" in ended.err
