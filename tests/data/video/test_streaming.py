import types
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from taggnn.data.synthetic import write_video
from taggnn.data.video import streaming
from taggnn.data.video.reading import VideoError, read_frames
from taggnn.data.video.streaming import Damage, Stream, _Clock, camera_of, is_address


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "video.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 256, (10, 32, 48, 3), dtype=np.uint8), 10)
    return path


@pytest.mark.parametrize("short_side", [None, 16])
def test_frames_are_those_of_clips(video, short_side):
    with Stream(str(video), short_side) as stream:
        assert (stream.rate, stream.duration) == (10, 1)
        found = list(stream.frames())
    assert [frame.time for frame in found] == pytest.approx([k / 10 for k in range(10)])
    assert stream.end == pytest.approx(1)
    expected = read_frames(video, range, short_side)
    assert torch.equal(torch.from_numpy(np.stack([frame.picture for frame in found])), expected)
    assert stream.damage.notes() == []


def test_times_of_a_variable_rate(tmp_path):
    times = [0, 50, 400, 410, 1000]
    with av.open(str(tmp_path / "v.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with Stream(str(tmp_path / "v.mkv")) as stream:
        assert [frame.time for frame in stream.frames()] == pytest.approx([time / 1000 for time in times], abs=2e-3)


def test_a_damaged_packet_does_not_end_it(video, tmp_path):
    content = bytearray(video.read_bytes())
    middle = content.index(b"mdat") + 4 + (len(content) - content.index(b"mdat")) // 2
    content[middle : middle + 400] = bytes(400)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    with Stream(str(path)) as stream:
        count = sum(1 for _ in stream.frames())
    assert 1 <= count <= 10
    assert stream.damage.frames >= 1 or count == 10


def test_a_file_that_ends_early(video, tmp_path):
    path, content = tmp_path / "cut.mkv", tmp_path / "whole.mkv"
    with av.open(str(video)) as source, av.open(str(content), "w") as out:
        copied = out.add_stream_from_template(source.streams.video[0])
        for _ in range(1):
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = copied
                    packet.pts, packet.dts = packet.pts * 10, packet.dts * 10
                    out.mux(packet)
    path.write_bytes(content.read_bytes()[: content.stat().st_size // 2])
    with Stream(str(path)) as stream:
        frames = list(stream.frames())
    assert 0 < len(frames) < 10
    assert stream.damage.notes()


def test_real_time_gives_no_frame_early(video, monkeypatch):
    clock = types.SimpleNamespace(now=100.0, slept=0)

    def sleep(seconds):
        clock.now += seconds
        clock.slept += seconds > 0

    monkeypatch.setattr(streaming, "time", types.SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    with Stream(str(video), real_time=True) as stream:
        for frame in stream.frames():
            assert frame.arrived - 100 == pytest.approx(frame.time)
    assert clock.slept == 9


def test_a_clock_that_jumps_is_counted():
    damage = Damage()
    clock = _Clock(10.0, 0.1, damage)
    found = [clock.seconds(pts) for pts in (50, 51, 53, 20, 21, 10**9, 10**9 + 1, None)]
    assert found == pytest.approx([0, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert damage.clock == 2


@pytest.mark.parametrize(
    ("platform", "camera", "expected"),
    [
        ("linux", "0", ("v4l2", "/dev/video0")),
        ("linux", "/dev/video2", ("v4l2", "/dev/video2")),
        ("darwin", "1", ("avfoundation", "1")),
        ("win32", "Integrated Camera", ("dshow", "video=Integrated Camera")),
    ],
    ids=["linux", "linux-path", "mac", "windows"],
)
def test_cameras(platform, camera, expected):
    assert camera_of(camera, platform) == expected


@pytest.mark.parametrize(("platform", "camera"), [("win32", "0"), ("sunos5", "0")])
def test_impossible_cameras(platform, camera):
    with pytest.raises(ValueError, match="camera 0"):
        camera_of(camera, platform)


def test_a_camera_that_is_not_there_is_named():
    with pytest.raises(VideoError, match="camera 97"), Stream("97", camera=True):
        pass


def test_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_address("rtsp://camera/1")
    assert not is_address("a:b.mp4")
    assert not is_address("videos/a.mp4")
