import csv
import io
import json
import os
import re
import types

import av
import numpy as np
import pytest
import torch
from torch import nn

import taggnn
import taggnn.predict
from taggnn.backbones.image.frames import FrameFeatures
from taggnn.data.synthetic import make_clip, write_video
from taggnn.data.video.source import VideoSource
from taggnn.data.video.streaming import Stream
from taggnn.evaluation.segments import Rule, segments
from taggnn.evaluation.sliding import Sliding
from taggnn.evaluation.timeline import Columns, follow
from taggnn.io.loaded import Loaded

FRAMES, RATE, WINDOW, STRIDE = 41, 12, 8, 3
# The best of eight classes has 1/8 at least: any model has segments.
HIGH, LOW = 0.12, 0.1


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "long: 50 %.mp4"
    parts = [make_clip(name, 20, 32, np.random.default_rng(k)) for k, name in enumerate(("left", "up", "clockwise"))]
    write_video(path, np.concatenate(parts)[:FRAMES], RATE)
    return path


@pytest.fixture(scope="module")
def loaded(trained):
    return taggnn.load(trained[0])


def answers(loaded, path, **options):
    sliding = Sliding(loaded)
    with Stream(str(path), sliding.source.short_side) as stream:
        plan = sliding.plan(RATE, WINDOW / RATE, STRIDE / RATE)
        windows = sliding.windows(stream, plan)

        def cut():
            for frame in stream.frames():
                yield from windows.add(frame.time, sliding.picture(frame.picture))
            yield from windows.end(stream.end)

        return sliding, list(sliding.answers(cut(), **options))


def check_against_predict(loaded, path, found):
    assert [window.start for window, _ in found] == [*range(0, FRAMES - WINDOW + 1, STRIDE)]
    for window, mine in found:
        cut = {"start": window.start / RATE, "stop": window.stop / RATE}
        torch.testing.assert_close(mine, loaded.predict(path, **cut).probabilities, atol=2e-6, rtol=0)


@pytest.mark.parametrize("batch", [1, 5])
def test_a_window_is_answered_as_that_cut_of_the_file(loaded, long_video, batch):
    sliding, found = answers(loaded, long_video, batch=batch)
    assert not sliding.shares
    check_against_predict(loaded, long_video, found)


class Images(FrameFeatures):
    """A network of images, which counts them."""

    def __init__(self):
        super().__init__()
        self.layer, self.count = nn.Conv2d(3, 8, 8, stride=8), 0

    def images(self, images):
        self.count += len(images)
        return self.layer(images).tanh()


@pytest.mark.parametrize(("head", "options"), [("pool", {}), ("tag", {"encoder_layers": 1, "encoder_heads": 2})])
def test_windows_share_the_tokens_of_single_frames(long_video, head, options):
    torch.manual_seed(0)
    model = taggnn.attach(Images(), head, 3, clip=(4, 32, 32), **options).eval()
    source = VideoSource(frames=4, size=32, short_side=32)
    model.spec = source.spec
    own = Loaded(model, ("a", "b", "c"), {}, "own")
    model.backbone.count = 0
    sliding, found = answers(own, long_video)
    assert sliding.shares
    assert model.backbone.count == len({number for window, _ in found for number in window.numbers}) < 4 * len(found)
    check_against_predict(own, long_video, found)
    model.backbone.shift(0)
    assert Sliding(own).shares


def test_a_clip_normalised_by_itself_shares_nothing(long_video):
    model = taggnn.attach(Images(), "pool", 3, clip=(4, 32, 32)).eval()
    model.spec = VideoSource(frames=4, size=32, per_clip_norm=True).spec
    assert not Sliding(Loaded(model, ("a", "b", "c"), {}, "own")).shares


def test_models_of_other_inputs_are_refused():
    other = types.SimpleNamespace(reader=object(), source="x.ckpt", spec=types.SimpleNamespace(kind="skeleton"))
    with pytest.raises(ValueError, match=r"x.ckpt.*skeleton"):
        Sliding(other)


def test_a_short_video_is_one_clip(loaded, videos):
    path = videos / "test" / "left" / "left_000.mp4"
    sliding = Sliding(loaded)
    with Stream(str(path), sliding.source.short_side) as stream:
        found, steps = follow(sliding, stream, sliding.plan(stream.rate, 10, 1), Rule())
        (step,) = steps
    assert found.windows == 1
    assert step.start == 0
    assert step.end == pytest.approx(8 / 12)
    torch.testing.assert_close(step.probabilities.float(), loaded.predict(path).probabilities, atol=2e-6, rtol=0)


@pytest.fixture(scope="module")
def written(trained, long_video, program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    words = ["--checkpoint", trained[0], "--window", WINDOW / RATE, "--stride", STRIDE / RATE, "--high", HIGH]
    ended = program(taggnn.predict, long_video, "--timeline", *words, "--low", LOW, "--out", folder, "--mp4")
    assert ended.code == 0, ended.err
    return folder, ended


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_frame_has_an_answer(written, loaded):
    rows = rows_of(written[0] / "timeline.csv")
    assert [float(row["start"]) for row in rows] == pytest.approx([k * STRIDE / RATE for k in range(14)])
    assert [row["end"] for row in rows[:-1]] == [row["start"] for row in rows[1:]]
    assert float(rows[-1]["end"]) == pytest.approx(FRAMES / RATE, abs=1e-3)
    for row in rows:
        values = {name: float(row[f"p:{name}"]) for name in loaded.classes}
        assert sum(values.values()) == pytest.approx(1, abs=1e-4)
        assert values[row["answer"]] == max(values.values()) == float(row["probability"])


def test_segments_are_those_of_the_rows(written, loaded):
    rows = rows_of(written[0] / "timeline.csv")
    table = torch.tensor([[float(row[f"p:{name}"]) for name in loaded.classes] for row in rows])
    expected = segments(table, STRIDE / RATE, Rule(HIGH, LOW), FRAMES / RATE)
    content = json.loads((written[0] / "timeline.json").read_text(encoding="utf-8"))
    assert len(content["segments"]) == len(expected) > 0
    for mine, row, other in zip(content["segments"], rows_of(written[0] / "segments.csv"), expected, strict=True):
        assert (mine["start"], mine["end"], mine["label"]) == pytest.approx(
            (other.start, other.end, other.label), abs=1e-3
        )
        assert mine["class"] == row["class"] == loaded.classes[other.label]
        assert mine["score"] == pytest.approx(other.score, abs=1e-4)
    assert content["frames"] == FRAMES
    assert content["window"]["count"] == 12


def test_the_page_links_the_video(written, long_video):
    page = (written[0] / "timeline.html").read_text(encoding="utf-8")
    (link,) = re.findall(r'<video id="video" src="([^"]+)"', page)
    assert link.startswith("../")
    assert link.endswith("long%3A%2050%20%25.mp4")
    content = json.loads((written[0] / "timeline.json").read_text(encoding="utf-8"))
    times = re.findall(r'data-t="([\d.]+)"', page)
    # Once in the plot and once in the table.
    assert sorted(times) == sorted(2 * [f"{one['start']:.2f}" for one in content["segments"]])


def test_the_annotated_video_has_every_frame(written):
    with av.open(str(written[0] / "timeline.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([k / RATE for k in range(FRAMES)], abs=1e-3)


def test_an_interrupted_one_leaves_nothing(trained, long_video, program, tmp_path, monkeypatch):
    frames = Stream.frames

    def interrupted(self):
        for number, frame in enumerate(frames(self)):
            if number == 30:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(Stream, "frames", interrupted)
    ended = program(
        taggnn.predict, long_video, "--timeline", "--checkpoint", trained[0], "--window", 0.5, "--out", tmp_path / "out"
    )
    assert ended.code == 130
    assert os.listdir(tmp_path / "out") == []


def test_a_pipe(written, trained, long_video, program, tmp_path, monkeypatch):
    """An MPEG-TS, since an MP4 may have its index at the end."""
    content = io.BytesIO()
    with av.open(str(long_video)) as source, av.open(content, "w", format="mpegts") as out:
        copied = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                out.mux(packet)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content.getvalue())))
    words = ["--checkpoint", trained[0], "--window", WINDOW / RATE, "--stride", STRIDE / RATE, "--rate", RATE]
    ended = program(taggnn.predict, "-", "--timeline", *words, "--out", tmp_path)
    assert ended.code == 0, ended.err
    mine, known = (rows_of(folder / "timeline.csv") for folder in (tmp_path, written[0]))
    assert [row["answer"] for row in mine] == [row["answer"] for row in known]
    assert "<video" not in (tmp_path / "timeline.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "window"),
        (("--window", "1", "--stride", "2"), "stride"),
        (("--window", "0"), "window"),
        (("--window", "1", "--high", "0.3"), "low"),
        (("--window", "1", "--background_class", "[still]"), "still"),
        (("--window", "1", "--reject"), "--calibrate"),
        (("--window", "1", "--live"), "--live"),
        (("--window", "1", "--views", "2"), "--views"),
    ],
    ids=["no-window", "stride", "zero", "low-above-high", "unknown-class", "no-threshold", "live", "views"],
)
def test_impossible_options_are_refused(trained, long_video, program, tmp_path, words, message):
    out = tmp_path / "out"
    ended = program(taggnn.predict, long_video, "--timeline", "--checkpoint", trained[0], *words, "--out", out)
    assert ended.code == 2
    assert message in ended.err
    assert not out.exists() or os.listdir(out) == []


def test_one_video_at_a_time(trained, long_video, program):
    ended = program(taggnn.predict, long_video, "more.mp4", "--timeline", "--checkpoint", trained[0], "--window", 1)
    assert ended.code == 2
    assert "more.mp4" in ended.err


@pytest.mark.parametrize(
    "words", [("--window", 1), ("--mp4",), ("--out", "x"), ("--seconds", 3)], ids=lambda words: words[0]
)
def test_options_without_effect_are_refused(trained, long_video, program, words):
    ended = program(taggnn.predict, long_video, "--checkpoint", trained[0], *words)
    assert ended.code == 2
    assert words[0] in ended.err


def test_files_that_are_no_video(trained, videos, program, tmp_path):
    words = ["--checkpoint", trained[0], "--window", 1, "--out", tmp_path]
    for path in (videos / "test" / "clockwise" / "a_text.mp4", tmp_path / "absent.mp4", tmp_path):
        ended = program(taggnn.predict, path, "--timeline", *words)
        assert ended.code == 2
        assert path.name in ended.err


def test_the_plot_keeps_its_size():
    columns, rows = Columns(0.5, limit=8), torch.rand(100, 3, generator=torch.Generator().manual_seed(0))
    for row in rows:
        columns.add(row)
    values = columns.values()
    each = columns.steps_each
    assert len(values) <= 8
    assert columns.seconds == 0.5 * each
    for number, value in enumerate(values):
        torch.testing.assert_close(value, rows[number * each : (number + 1) * each].mean(0))
