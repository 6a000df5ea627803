import itertools
import os
import pickle
import random
import struct
import sys
import time
import wave
from fractions import Fraction

import numpy as np
import pytest
import torch

from taggnn.data.video import container, reading
from taggnn.data.video.reading import VideoError, frame_times, read_frames, read_views
from taggnn.data.video.time_limit import TimeLimit

av = pytest.importorskip("av")

VIDEOS = {
    "h264-b-frames.mp4": {"b_frames": 3},
    "h264-fragmented.mp4": {"b_frames": 3, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h264-b-frames.mkv": {"b_frames": 3},
    "h264-b-frames.avi": {"b_frames": 3},
    "h264-b-frames.ts": {"b_frames": 3},
    "no-times.h264": {"b_frames": 3},
    "hevc.mp4": {"codec": "libx265", "b_frames": 3},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx"},
    "mpeg4-b-frames.avi": {"codec": "mpeg4", "b_frames": 2},
    "still-palette.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "odd-51x37.mp4": {"width": 51, "height": 37, "pix_fmt": "yuv444p"},
    "odd-51x37.gif": {"codec": "gif", "width": 51, "height": 37, "pix_fmt": "rgb8"},
    "portrait.mkv": {"width": 36, "height": 70},
    "variable-rate.mkv": {"b_frames": 2, "stamps": [0, 1, 2, 5, 6, 11, 12, 13, 20, 21, 30, 31]},
    "variable-rate.mp4": {"stamps": [0, 1, 2, 5, 6, 11, 12, 13, 20, 21, 30, 31]},
    "late-start.mkv": {"stamps": list(range(70, 82))},
    "one-frame.mp4": {"frames": 1},
    "one-frame.gif": {"codec": "gif", "frames": 1, "pix_fmt": "rgb8"},
    "gray.mp4": {"pix_fmt": "gray"},
    "ten-bit.mp4": {"pix_fmt": "yuv420p10le", "b_frames": 2},
    "full-range.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


@pytest.fixture(scope="module")
def make(tmp_path_factory, write_video):
    """``make(name)`` writes a video of the table once and returns its path."""
    folder = tmp_path_factory.mktemp("videos")

    def once(name):
        path = folder / name
        return path if path.exists() else write_video(path, **VIDEOS[name])

    return once


@pytest.fixture(scope="module")
def stream_first(tmp_path_factory, write_video):
    """A file whose index lies in front, so that it opens however much of its end is missing."""
    path = tmp_path_factory.mktemp("front") / "front.mp4"
    return write_video(path, frames=24, b_frames=3, container_options={"movflags": "faststart"})


@pytest.mark.parametrize("name", VIDEOS)
def test_all_frames_equal_a_full_decode(name, make, decode_all):
    path = make(name)
    frames = read_frames(path, range)
    assert frames.dtype == torch.uint8
    assert torch.equal(frames, decode_all(path))
    # In the order they were encoded: each picture is a little brighter than the one before.
    assert len(frames) == VIDEOS[name].get("frames", 12)
    assert (frames.float().mean((1, 2, 3)).diff() > 0).all()


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_one_by_one_are_those_of_a_full_decode(name, make, decode_all):
    path = make(name)
    times, pictures = zip(*reading.iterate_frames(path), strict=True)
    assert torch.equal(torch.from_numpy(np.stack(pictures)), decode_all(path))
    assert times == frame_times(path).times
    _, (first, *_) = zip(*reading.iterate_frames(path, short_side=20), strict=True)
    assert torch.equal(
        torch.from_numpy(np.ascontiguousarray(first)), read_frames(path, lambda n: [0], short_side=20)[0]
    )


def test_one_by_one_a_wrong_count_is_corrected_without_a_repeat(make, decode_all, monkeypatch):
    path = make("h264-b-frames.mp4")
    frames = reading._sequential_frames

    def miscounting(container, timeline, positions, final):
        for number, frame in enumerate(frames(container, timeline, positions, final)):
            if number == 7 and not final:
                raise reading._Miscounted
            yield frame

    monkeypatch.setattr(reading, "_sequential_frames", miscounting)
    pictures = [picture for _, picture in reading.iterate_frames(path)]
    assert torch.equal(torch.from_numpy(np.stack(pictures)), decode_all(path))


def test_one_by_one_the_caller_may_take_its_time(make, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "thread_time", lambda: now[0])
    count = 0
    for _ in reading.iterate_frames(make("h264-b-frames.mp4"), decode_timeout=5):
        now[0], count = now[0] + 1000, count + 1
    assert count == 12


def test_one_by_one_damage_is_an_error(stream_first, tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(stream_first.read_bytes()[:-200])
    with pytest.raises(VideoError, match="truncated"):
        list(reading.iterate_frames(path))


def test_b_frames_are_really_in_the_files(make):
    for name in ("h264-b-frames.mp4", "h264-b-frames.avi", "hevc.mp4", "mpeg4-b-frames.avi", "variable-rate.mkv"):
        with av.open(str(make(name))) as source:
            assert any(frame.pict_type == av.video.frame.PictureType.B for frame in source.decode(video=0))


@pytest.mark.parametrize("name", ["h264-b-frames.mp4", "h264-b-frames.avi", "vp9.webm", "odd-51x37.gif"])
def test_a_sample_equals_rows_of_the_whole(name, make, decode_all):
    path = make(name)
    whole = decode_all(path)
    for indices in ([0], [11], [3, 4], [0, 5, 5, 5, 11], [9, 2, 2, 7, 0], list(range(11, -1, -1))):
        assert torch.equal(read_frames(path, lambda n, indices=indices: indices), whole[indices])
    assert torch.equal(read_frames(path, lambda n: torch.tensor([n - 1, 1])), whole[[11, 1]])


@pytest.mark.parametrize("name", ["h264-b-frames.mp4", "mpeg4-b-frames.avi"], ids=["sparse", "sequential"])
def test_each_frame_is_converted_once_and_decoding_stops_after_the_last(name, make, monkeypatch):
    converted, decoded = [], []
    scale, frames, decode = reading.Scaler.__call__, container.Container.frames, container.Container.decode
    monkeypatch.setattr(reading.Scaler, "__call__", lambda *a: converted.append(1) or scale(*a))
    monkeypatch.setattr(container.Container, "frames", lambda *a: (decoded.append(1) or frame for frame in frames(*a)))
    monkeypatch.setattr(container.Container, "decode", lambda self, p: decoded.append(1) or decode(self, p))
    assert read_frames(make(name), lambda n: [4, 1, 1, 4, 4]).shape[0] == 5
    assert len(converted) == 2
    assert len(decoded) <= 6


@pytest.mark.parametrize("name", ["h264-b-frames.mp4", "h264-b-frames.ts", "still-palette.gif", "mpeg4-b-frames.avi"])
def test_a_file_too_large_to_keep_is_read_twice(name, make, decode_all, monkeypatch):
    monkeypatch.setattr(container, "MAX_BUFFER_BYTES", 100)
    assert torch.equal(read_frames(make(name), range), decode_all(make(name)))


def test_decoder_threads_change_nothing(make, decode_all):
    assert torch.equal(read_frames(make("h264-b-frames.mkv"), range, threads=3), decode_all(make("h264-b-frames.mkv")))


def test_grey_video_has_three_equal_channels(make):
    frames = read_frames(make("gray.mp4"), range)
    assert torch.equal(frames, frames[..., :1].expand_as(frames))


@pytest.mark.parametrize(
    ("name", "short_side", "shape"),
    [
        ("h264-b-frames.mp4", 24, (24, 32)),
        ("h264-b-frames.mp4", 96, (96, 128)),
        ("odd-51x37.mp4", 20, (20, 28)),
        ("odd-51x37.gif", 37, (37, 51)),
        ("portrait.mkv", 9, (18, 9)),
        ("portrait.mkv", 1, (2, 1)),
    ],
)
def test_short_side_keeps_the_aspect(name, short_side, shape, make, decode_all):
    frames = read_frames(make(name), range, short_side=short_side)
    assert frames.shape == (12, *shape, 3)
    # Scaled before the colours are converted, not in the same step.
    difference = (frames.float() - decode_all(make(name), height=shape[0], width=shape[1]).float()).abs()
    assert difference.mean() < 2.5
    assert difference.max() < 16


TURNS = {
    "0": ((1, 0, 0, 1), lambda x: x),
    "90-clockwise": ((0, 1, -1, 0), lambda x: x.rot90(-1, (1, 2))),
    "180": ((-1, 0, 0, -1), lambda x: x.rot90(2, (1, 2))),
    "270-clockwise": ((0, -1, 1, 0), lambda x: x.rot90(1, (1, 2))),
    "mirrored": ((-1, 0, 0, 1), lambda x: x.flip(2)),
    "upside-down": ((1, 0, 0, -1), lambda x: x.flip(1)),
    "transposed": ((0, 1, 1, 0), lambda x: x.transpose(1, 2)),
    "mirrored-90": ((0, -1, -1, 0), lambda x: x.transpose(1, 2).flip(1, 2)),
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("name", ["h264-b-frames.mp4", "odd-51x37.mp4"])
def test_rotation_noted_in_the_file_is_applied(turn, name, make, decode_all, tmp_path):
    (a, b, c, d), upright = TURNS[turn]
    data = bytearray(make(name).read_bytes())
    # In a version 0 track header the matrix is 40 bytes after the four letters (14496-12, 8.3.2).
    offset = data.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", data, offset) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, offset, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    assert torch.equal(read_frames(path, range), upright(decode_all(make(name))))
    height, width = read_frames(path, lambda n: [0], short_side=24).shape[1:3]
    assert min(height, width) == 24
    assert (height > width) == (abs(b) == 1)
    # FFmpeg's own reading of the matrix; it has no word for mirrors.
    if a * d - b * c == 1:
        with av.open(str(path)) as source:
            quarters = next(source.decode(video=0)).rotation // 90
        assert torch.equal(upright(decode_all(make(name))), decode_all(make(name)).rot90(quarters, (1, 2)))


def test_cut_is_exact_at_both_ends(make, decode_all):
    path = make("h264-b-frames.mp4")
    whole = decode_all(path)
    times = frame_times(path).times
    assert times == tuple(k / 10 for k in range(12))
    for first in range(12):
        for last in range(first + 1, 13):
            stop = times[last] if last < 12 else None
            assert torch.equal(read_frames(path, range, start=times[first], stop=stop), whole[first:last])
    assert torch.equal(read_frames(path, range, start=0.31, stop=0.50001), whole[4:6])
    assert torch.equal(read_frames(path, lambda n: [n - 1, 0], start=-1.0, stop=99.0), whole[[11, 0]])


@pytest.mark.parametrize("name", ["variable-rate.mkv", "variable-rate.mp4"])
def test_cut_goes_by_time_not_by_rate(name, make, decode_all):
    whole = decode_all(make(name))
    assert frame_times(make(name)).times == tuple(t / 10 for t in VIDEOS[name]["stamps"])
    assert torch.equal(read_frames(make(name), range, start=0.5, stop=2.1), whole[3:9])


def test_times_count_from_the_first_frame(make, decode_all):
    path = make("late-start.mkv")
    assert frame_times(path).times[:2] == (0.0, 0.1)
    assert torch.equal(read_frames(path, range, start=0.2, stop=0.4), decode_all(path)[2:4])


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
def test_an_original_and_files_cut_from_it_give_the_same_frames(kind, write_video, decode_all, tmp_path):
    rate = Fraction(30000, 1001)
    whole = write_video(tmp_path / f"whole.{kind}", frames=24, rate=rate)
    pictures = decode_all(whole)
    for origin, start, stop, held, wanted in [
        (0.1, 0.1 + 0.2, 0.5, 3, range(9, 15)),
        (5 / rate, 9 / rate, 14 / rate, 5, range(9, 14)),
        (0.2, 0.2, 0.2 + 1 / 30, 6, range(6, 7)),
    ]:
        origin, start, stop = float(origin), float(start), float(stop)
        cut = write_video(tmp_path / f"cut.{kind}", frames=24 - held, rate=rate, first=held)
        expected = read_frames(whole, range, start=start, stop=stop)
        assert torch.equal(expected, pictures[list(wanted)])
        found = read_frames(cut, range, start=start, stop=stop, origin=origin)
        # Encoded anew, the pictures are close and not equal; neighbours differ by 8 or more.
        assert found.shape == expected.shape
        assert (found.float() - expected.float()).abs().mean() < 3


def test_times_of_a_constant_rate_are_not_those_of_a_coarse_clock(write_video, tmp_path):
    rate = Fraction(30000, 1001)
    times = [frame_times(write_video(tmp_path / f"a.{kind}", rate=rate)).times for kind in ("mp4", "mkv")]
    assert times[0] == times[1] == tuple(k * 1001 / 30000 for k in range(12))


def test_views_share_one_decode(make, decode_all, monkeypatch):
    whole, converted = decode_all(make("h264-b-frames.mp4")), []
    scale = reading.Scaler.__call__
    monkeypatch.setattr(reading.Scaler, "__call__", lambda *a: converted.append(1) or scale(*a))
    first, second, third = read_views(
        make("h264-b-frames.mp4"), [lambda n: [0, 3, 7], lambda n: [7, 3, 3], lambda n: [2]]
    )
    assert torch.equal(first, whole[[0, 3, 7]])
    assert torch.equal(second, whole[[7, 3, 3]])
    assert torch.equal(third, whole[[2]])
    assert len(converted) == 4
    first.zero_()
    assert torch.equal(second, whole[[7, 3, 3]])
    with pytest.raises(ValueError, match="no sampler given"):
        read_views(make("h264-b-frames.mp4"), [])


def test_a_decode_that_takes_too_long_is_given_up(make, monkeypatch):
    clock = iter(range(0, 10**6, 7))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    with pytest.raises(VideoError, match="given up after 30 s"):
        read_frames(make("h264-b-frames.mp4"), range, decode_timeout=30.0)
    assert len(read_frames(make("h264-b-frames.mp4"), range, decode_timeout=10**5)) == 12
    assert len(read_frames(make("h264-b-frames.mp4"), range, decode_timeout=float("inf"))) == 12
    monkeypatch.undo()
    with pytest.raises(VideoError, match="given up after 1e-06 s"):
        read_frames(make("h264-b-frames.mp4"), range, decode_timeout=1e-6)
    for decode_timeout in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="decode_timeout"):
            read_frames(make("h264-b-frames.mp4"), range, decode_timeout=decode_timeout)


@pytest.mark.parametrize("name", ["h264-b-frames.mp4", "no-times.h264"])
def test_a_program_that_is_stopped_for_a_while_reads_the_same(make, monkeypatch, name):
    """The clock jumps at every single look at it, of FFmpeg too; decoding has used no time then."""
    path = make(name)
    monkeypatch.setattr(container, "MAX_BUFFER_BYTES", 1)

    def read():
        draw = random.Random(7)
        return read_frames(path, lambda n: draw.sample(range(n), 5))

    whole = read()
    monotonic, looks, jumped = time.monotonic, 0, 0

    def clock():
        nonlocal looks
        looks += 1
        return monotonic() + (1000 if looks > stopped else 0)

    monkeypatch.setattr(time, "monotonic", clock)
    for stopped in itertools.count(1):
        looks = 0
        assert torch.equal(read(), whole), stopped
        if looks <= stopped:
            break
        container._TIMELINES.clear()
        jumped += 1
    assert jumped > 5


def test_several_decoder_threads_have_used_no_more_than_the_time_passed(monkeypatch):
    now = {"monotonic": 0.0, "process_time": 0.0, "thread_time": 0.0}
    for clock in now:
        monkeypatch.setattr(time, clock, lambda clock=clock: now[clock])
    one, four = TimeLimit(10.0), TimeLimit(10.0, threads=4)
    now |= {"monotonic": 5.0, "process_time": 20.0, "thread_time": 4.0}
    assert (one.left(), four.left()) == (6.0, 5.0)
    assert not one.stalled()
    assert not four.stalled()
    now |= {"monotonic": 50.0}
    assert (one.left(), four.left()) == (6.0, -10.0)
    assert one.stalled()
    assert not four.stalled()


def test_a_stream_without_times_is_spaced_by_its_rate(make):
    times = frame_times(make("no-times.h264")).times
    assert len(times) == 12
    assert np.ptp(np.diff(times)) < 1e-9


@pytest.mark.parametrize(
    ("start", "stop", "cut"),
    [(1.2, None, "1.2 to 1.2 s"), (5.0, 7.0, "5 to 7 s"), (0.31, 0.39, "0.31 to 0.39 s"), (0.5, 0.5, "0.5 to 0.5 s")],
)
def test_an_empty_cut_tells_the_duration(start, stop, cut, make):
    with pytest.raises(VideoError, match=f"no frame in the cut from {cut}; the video lasts 1.2 s"):
        read_frames(make("h264-b-frames.mp4"), range, start=start, stop=stop)
    with pytest.raises(VideoError, match=r"the video holds 30 to 31\.2 s of its original"):
        read_frames(make("h264-b-frames.mp4"), range, start=1.0, stop=2.0, origin=30.0)


def test_frames_outside_an_edit_list_are_not_counted(write_video, decode_all, tmp_path):
    path = write_video(tmp_path / "edited.mp4", b_frames=3, stamps=list(range(-3, 9)))
    with av.open(str(path)) as source:
        assert any(packet.is_discard for packet in source.demux(video=0))
    frames = read_frames(path, range)
    assert torch.equal(frames, decode_all(path))
    with av.open(str(path), options={"ignore_editlist": "1"}) as source:
        unedited = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    assert len(unedited) == 12
    assert np.array_equal(frames, unedited[3:])
    assert frame_times(path).times == tuple(t / 10 for t in range(9))


def test_frames_the_decoder_leaves_out_are_not_counted(miscounted, decode_all):
    path = miscounted
    whole = decode_all(path)
    assert 0 < len(whole) < len(frame_times(path).times)
    calls = []
    assert torch.equal(read_frames(path, lambda n: calls.append(n) or [0, n - 1]), whole[[0, -1]])
    assert calls == [len(frame_times(path).times), len(whole)]
    assert torch.equal(read_frames(path, lambda n: [n // 2]), whole[[len(whole) // 2]])
    assert torch.equal(read_frames(path, range, start=0.2, stop=0.4), whole[2:4])


@pytest.mark.parametrize("name", ["h264-b-frames.avi", "mpeg4-b-frames.avi", "guessed"])
def test_times_without_an_order_of_presentation_cost_no_second_decode(name, make, real_data):
    path, count = (real_data("samples") / "test.avi", 164) if name == "guessed" else (make(name), 12)
    calls = []
    read_frames(path, lambda n: calls.append(n) or [n - 1])
    assert calls == [count]


def test_names_that_look_like_protocols_or_patterns(make, decode_all, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = decode_all(make("one-frame.mp4"))
    for name in ("http:clip.mp4", "-clip.mp4", "clip %03d.mp4", "schöner Clip #1.mp4", "no-ending"):
        (tmp_path / name).write_bytes(make("one-frame.mp4").read_bytes())
        assert torch.equal(read_frames(name, range), whole)


def test_a_title_that_is_not_utf8_does_not_matter(write_video, decode_all, tmp_path):
    path = write_video(tmp_path / "a.mkv", frames=2)
    data = path.read_bytes()
    # The name of the writing program is a title like any other.
    path.write_bytes(data.replace(b"Lavf", b"L\xe4vf"))
    with pytest.raises(UnicodeDecodeError):
        decode_all(path)
    assert len(read_frames(path, range)) == 2


@pytest.mark.parametrize("indices", [[12], [-1], [0, 99], []])
def test_impossible_samples_are_refused(indices, make):
    message = f"returned index {indices[-1]}; possible are 0 to 11" if indices else "no index for 12 frames"
    with pytest.raises(ValueError, match=message):
        read_frames(make("h264-b-frames.mp4"), lambda n: indices)


def _refused(path, reason, **cut):
    with pytest.raises(VideoError, match=reason) as caught:
        read_frames(path, range, **cut)
    assert caught.value.path == str(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"


def test_files_that_are_none(tmp_path):
    (tmp_path / "a.mp4").touch()
    for path, reason in ((tmp_path / "none.mp4", "no such file"), (tmp_path, "no image in this folder")):
        _refused(path, reason)
    _refused(tmp_path / "a.mp4", r"empty \(0 bytes\)")


@pytest.mark.parametrize(
    "text",
    ["hello\n" * 500, "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"],
    ids=["text", "playlist"],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.webm"])
def test_renamed_text(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    _refused(tmp_path / name, "not a video")


def test_audio_only(tmp_path):
    with wave.open(str(tmp_path / "a.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    _refused(tmp_path / "a.mp4", "not a video in a container that is read")


def test_cover_picture_of_a_song_is_no_video(tmp_path):
    path = tmp_path / "song.mka"
    if not hasattr(av.container.OutputContainer, "add_attachment"):
        pytest.skip("this PyAV cannot write attachments")
    with av.open(str(path), "w", format="matroska") as out:
        sound = out.add_stream("aac", rate=8000, layout="mono")
        cover = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 16, 16, "yuvj420p", Fraction(1, 10)
        data = b"".join(
            bytes(packet) for packet in [*encoder.encode(cover.reformat(format="yuvj420p")), *encoder.encode()]
        )
        out.add_attachment("cover.jpg", "image/jpeg", data)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        out.mux(sound.encode(frame))
        out.mux(sound.encode())
    with av.open(str(path)) as source:
        assert source.streams.video
    _refused(path, "no video stream in it, only audio")


def test_no_frames(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", container_options={"movflags": "frag_keyframe+empty_moov"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    _refused(path, "no frame in its video stream")


def test_index_missing(make, tmp_path):
    data = make("h264-b-frames.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    _refused(tmp_path / "a.mp4", "damaged or truncated: its headers cannot be read")


@pytest.mark.parametrize(
    "name",
    ["h264-fragmented.mp4", "h264-b-frames.mkv", "vp9.webm", "mpeg4-b-frames.avi", "still-palette.gif", "portrait.mkv"],
)
@pytest.mark.parametrize("part", [0.75, 0.99])
def test_truncated_is_never_filled_up(name, part, make, tmp_path):
    data = make(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * part)])
    _refused(path, r"truncated: \d+ of at least \d+ bytes and \d+( of 12)? frames are there|headers cannot be read")


def test_truncated_tells_promised_and_found(stream_first, tmp_path):
    data = stream_first.read_bytes()
    path = tmp_path / "a.mp4"
    path.write_bytes(data[: int(len(data) * 0.6)])
    _refused(path, rf"truncated: {int(len(data) * 0.6)} of at least {len(data)} bytes and \d+ of 24 frames are there")


def test_a_cut_before_the_damage_is_read(stream_first, decode_all, tmp_path):
    data, whole = stream_first.read_bytes(), decode_all(stream_first)
    path = tmp_path / "a.mp4"
    with av.open(str(stream_first)) as source:
        packets = [packet.pos for packet in source.demux(video=0) if packet.size]
    path.write_bytes(data[: packets[16] + 5])
    timeline = frame_times(path)
    assert 1.0 < timeline.sound_until <= 1.6
    last = round(timeline.sound_until * 10)
    assert torch.equal(read_frames(path, range, stop=timeline.sound_until), whole[:last])
    _refused(path, "truncated", stop=timeline.sound_until + 0.01)
    _refused(path, "truncated", start=0.1)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (0, r"damaged: \d+ of 24 frames could be decoded, then the decoder failed"),
        (0.5, "damaged: frame 12 of 24 is corrupt"),
    ],
    ids=["whole-picture", "half-a-picture"],
)
def test_a_hole_in_the_middle(part, reason, stream_first, tmp_path):
    data = bytearray(stream_first.read_bytes())
    with av.open(str(stream_first)) as source:
        packets = [(packet.pos, packet.size) for packet in source.demux(video=0) if packet.size and packet.is_keyframe]
    start, size = packets[2]
    kept = 4 + int((size - 4) * part)
    data[start + kept : start + size] = bytes(size - kept)
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    _refused(path, reason)
    assert read_frames(path, lambda n: [0, 1, 2]).shape[0] == 3


@pytest.mark.parametrize("size", [(20000, 300), (300, 20000), (16000, 16000), (65535, 65535)])
def test_absurd_sizes_are_refused_from_the_header(size, make, tmp_path, monkeypatch):
    monkeypatch.setattr(container.Container, "frames", lambda *_: pytest.fail("must not decode"))
    data = bytearray(make("still-palette.gif").read_bytes())
    struct.pack_into("<HH", data, 6, *size)
    (tmp_path / "a.gif").write_bytes(data)
    _refused(
        tmp_path / "a.gif", f"its header (claims pictures of {size[0]} x {size[1]}|gives no possible picture size)"
    )


@pytest.mark.parametrize("name", ["h264-b-frames.mp4", "h264-b-frames.mkv", "vp9.webm", "mpeg4-b-frames.avi"])
def test_flipped_bits_end_in_frames_or_a_named_error(name, make, tmp_path, capfd):
    data = np.frombuffer(make(name).read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    path = tmp_path / name
    refused = 0
    for _ in range(25):
        broken = data.copy()
        broken[random.integers(0, len(data), 5)] ^= np.uint8(1 << random.integers(0, 8))
        path.write_bytes(broken.tobytes())
        try:
            assert read_frames(path, range, short_side=8).shape[3] == 3
        except VideoError:
            refused += 1
    assert refused
    # FFmpeg has much to say about such files; none of it belongs on the screen.
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the resident memory from /proc")
def test_large_pictures_are_let_go(write_video, tmp_path):
    path = write_video(tmp_path / "large.mp4", frames=8, height=1080, width=1920)

    def megabytes():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    read_frames(path, range, short_side=32)
    before = megabytes()
    for _ in range(6):
        read_frames(path, range, short_side=32)
    # The 48 pictures have 3 MB each.
    assert megabytes() - before < 60


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files in /proc")
def test_no_file_stays_open(make, stream_first, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(stream_first.read_bytes()[:2000])
    errors = []

    def use():
        read_frames(make("h264-b-frames.mp4"), lambda n: [0])
        for path in (tmp_path / "text.mp4", tmp_path / "cut.mp4"):
            try:
                read_frames(path, range)
            except VideoError as error:
                errors.append(error)

    use()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        use()
    # The errors are still held, with their tracebacks.
    assert len(errors) == 12
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "gone")))
    assert (type(error), error.path, error.reason, str(error)) == (VideoError, "a.mp4", "gone", "a.mp4: gone")
    assert isinstance(error, ValueError)


def test_without_pyav_the_error_says_what_to_install(make, monkeypatch):
    path = make("one-frame.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="pip install 'av>=15'"):
        read_frames(path, range)
