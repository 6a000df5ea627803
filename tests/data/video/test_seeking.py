"""Frames reached by leaving others out are those of a decode from the beginning, bit for bit."""

import os
import random
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
import torch

from taggnn.data.frame_sampling import Dense, RandomInSegment, Uniform
from taggnn.data.video import container, reading, seeking
from taggnn.data.video.bitstream import Unproven
from taggnn.data.video.reading import frame_times, read_frames

av = pytest.importorskip("av")

X264 = "keyint=24:min-keyint=12:bframes=3:b-adapt=0:scenecut=0"
X265 = "keyint=24:min-keyint=12:bframes=3:b-adapt=0:scenecut=0:pools=none:log-level=none"
IRREGULAR = np.cumsum([1, 1, 3, 1, 2, 1, 7, 1, 1, 2] * 9).tolist()
VIDEOS = {
    "closed.mp4": ("libx264", {"x264-params": X264}),
    "closed-fragmented.mp4": ("libx264", {"x264-params": X264}),
    "open.mp4": ("libx264", {"x264-params": X264 + ":open-gop=1"}),
    "open.mkv": ("libx264", {"x264-params": X264 + ":open-gop=1"}),
    "pyramid.mkv": ("libx264", {"x264-params": X264 + ":bframes=7:b-pyramid=strict"}),
    "one-key.mp4": ("libx264", {"x264-params": "keyint=infinite:bframes=2:b-adapt=0"}),
    "intra-refresh.mkv": ("libx264", {"x264-params": "keyint=20:intra-refresh=1:bframes=0"}),
    "stream.ts": ("libx264", {"x264-params": X264}),
    "interlaced.mp4": ("libx264", {"x264-params": X264 + ":tff=1"}),
    "444.mp4": ("libx264", {"x264-params": X264}),
    "variable.mkv": ("libx264", {"x264-params": X264}),
    "edited.mp4": ("libx264", {"x264-params": X264}),
    "hevc-open.mp4": ("libx265", {"x265-params": X265}),
    "hevc-closed.mkv": ("libx265", {"x265-params": X265 + ":open-gop=0"}),
    "hevc-layers.mp4": ("libx265", {"x265-params": X265 + ":temporal-layers=3"}),
    "vp9.webm": ("libvpx-vp9", {"g": "24", "lag-in-frames": "16", "auto-alt-ref": "1", "cpu-used": "8", "b": "40k"}),
    "vp8.webm": ("libvpx", {"g": "24", "lag-in-frames": "16", "auto-alt-ref": "1", "cpu-used": "8"}),
    "av1.mp4": ("libsvtav1", {"preset": "12", "svtav1-params": "keyint=24"}),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}),
}
# No proof: packets that are no whole pictures, fields, coding that old versions got wrong, several temporal layers, no
# presentation times.
SEQUENTIAL = ("stream.ts", "interlaced.mp4", "444.mp4", "hevc-layers.mp4", "mpeg4.avi")
FRAMES = 90


def _picture(t, height=64, width=96):
    """A textured square wanders over a drifting ground: motion in every block, no two frames alike."""
    y, x = np.mgrid[:height, :width]
    ground = np.stack([np.sin((x + 2 * t) / 5) * 60, np.cos((y - t) / 7) * 60, np.sin((x + y) / 9 + t / 4) * 60], -1)
    rows, columns = (int(20 + 18 * np.sin(t / 9)) + k for k in (0, 20)), (int(3 * t % 70) + k for k in (0, 24))
    ground[slice(*rows), slice(*columns)] += 50 * ((x[:20, :24] // 3 + y[:20, :24] // 2 + t) % 2)[..., None]
    return (ground + 110).clip(0, 255).astype(np.uint8)


def _write(path, codec, options):
    stamps = IRREGULAR if "variable" in path.name else range(-9, FRAMES - 9) if "edited" in path.name else range(FRAMES)
    container_options = {"movflags": "frag_keyframe+empty_moov"} if "fragmented" in path.name else {}
    with av.open(str(path), "w", options=container_options) as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuv444p" if "444" in path.name else "yuv420p"
        stream.codec_context.thread_count = 1
        if "av1" not in codec:
            stream.codec_context.bit_rate = 200_000
        for t, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(_picture(t), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@contextmanager
def _same_priority():
    """SVT-AV1 gives its process real-time priority where it may, as root: all others would wait for these tests."""
    before = (os.sched_getscheduler(0), os.sched_getparam(0)) if hasattr(os, "sched_getscheduler") else None
    try:
        yield
    finally:
        if before is not None:
            os.sched_setscheduler(0, *before)


@pytest.fixture(scope="module")
def made(tmp_path_factory, decode_all):
    """``made(name)``: the path and all frames of a video of the table, written once."""
    folder, known = tmp_path_factory.mktemp("long"), {}

    def once(name):
        if name not in known:
            codec, options = VIDEOS[name]
            if codec not in av.codecs_available or not av.Codec(codec, "w").is_encoder:
                pytest.skip(f"this PyAV has no encoder {codec}")
            with _same_priority():
                path = _write(folder / name, codec, options)
            known[name] = path, decode_all(path)
        return known[name]

    return once


def _samples(n):
    """Sparse and dense choices of indices of n frames, from every kind of place."""
    draw = random.Random(n)
    yield from ([k] for k in range(n))
    yield from (Uniform(k)(n) for k in (2, 3, 4, 8, 16, n // 2, n))
    yield from (RandomInSegment(k)(n, torch.Generator().manual_seed(k)) for k in (3, 8, 11))
    yield from (Dense(4, stride)(n, torch.Generator().manual_seed(stride)) for stride in (1, 2, 9))
    yield from (draw.sample(range(n), draw.randint(2, 9)) for _ in range(40))


@pytest.mark.parametrize("name", VIDEOS)
def test_every_choice_of_frames_equals_a_full_decode(name, made):
    path, whole = made(name)
    for indices in _samples(len(whole)):
        assert torch.equal(read_frames(path, lambda n, indices=indices: indices), whole[indices]), indices


@pytest.mark.parametrize("name", VIDEOS)
def test_cuts_equal_a_full_decode(name, made):
    path, whole = made(name)
    times, draw = frame_times(path).times, random.Random(name)
    for _ in range(25):
        first, last = sorted(draw.sample(range(len(whole)), 2))
        found = read_frames(path, Uniform(3), start=times[first], stop=times[last])
        assert torch.equal(found, whole[first:last][Uniform(3)(last - first)])


def test_an_end_of_sequence_is_no_obstacle(made, tmp_path, monkeypatch):
    """Some encoders close each group with a unit of one byte."""
    path, whole = made("closed.mp4")
    ended = tmp_path / "ended.mp4"
    with av.open(str(path)) as source, av.open(str(ended), "w") as out:
        copied = out.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for packet, following in zip(packets, [*packets[1:], None], strict=True):
            last = following is None or following.is_keyframe
            data = av.Packet(bytes(packet) + (b"\0\0\0\x01\x0a" if last else b""))
            data.stream, data.time_base = copied, packet.time_base
            data.pts, data.dts, data.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
            out.mux(data)
    assert torch.equal(read_frames(ended, lambda n: [5, 47, 80]), whole[[5, 47, 80]])
    assert _packets_decoded(ended, [72], monkeypatch) == 1


def _packets_decoded(path, indices, monkeypatch):
    """How many packets the decoder sees for a sample, None where all were decoded in turn."""
    seen, decode = [], container.Container.decode
    with monkeypatch.context() as patch:
        patch.setattr(container.Container, "decode", lambda self, packet: seen.append(packet) or decode(self, packet))
        patch.setattr(container.Container, "frames", lambda *_: seen.append("all") or iter(()))
        try:
            read_frames(path, lambda n: indices)
        except reading.VideoError:
            return None
    return len([packet for packet in seen if packet is not None])


@pytest.mark.parametrize("name", VIDEOS)
def test_the_decoder_sees_less_where_that_is_proven(name, made, monkeypatch):
    path, _ = made(name)
    seen = _packets_decoded(path, [0, 40, 80], monkeypatch)
    assert (seen is None) == (name in SEQUENTIAL)
    # No picture of an intra refresh is free of references.
    assert seen is None or seen < 70 or "refresh" in name


def test_key_pictures_are_jumped_to(made, monkeypatch):
    assert _packets_decoded(made("closed.mp4")[0], [72], monkeypatch) == 1
    assert _packets_decoded(made("hevc-closed.mkv")[0], [72], monkeypatch) == 1
    # Of three pictures P B b the last is needed by no other.
    assert _packets_decoded(made("one-key.mp4")[0], [0, 59], monkeypatch) < 45


def test_a_group_too_large_to_hold_back_is_decoded(made, monkeypatch):
    path, whole = made("closed.mp4")
    monkeypatch.setattr(seeking, "MAX_BUFFER_BYTES", 300)
    monkeypatch.setattr(container, "MAX_BUFFER_BYTES", 300)
    for indices in ([70], [3, 50], Uniform(8)(FRAMES)):
        assert torch.equal(read_frames(path, lambda n, indices=indices: indices), whole[indices])


@pytest.mark.parametrize("name", VIDEOS)
def test_of_a_large_file_only_what_is_needed_is_read_the_second_time(name, made, monkeypatch):
    path, whole = made(name)
    monkeypatch.setattr(container, "MAX_BUFFER_BYTES", 300)
    monkeypatch.setattr(container, "_TIMELINES", {})
    draw, jumped, passed = random.Random(name), [], []
    start, packets = container.Container.packets_from, container.Container.packets
    monkeypatch.setattr(container.Container, "packets_from", lambda *a: jumped.append(1) or start(*a))
    monkeypatch.setattr(container.Container, "packets", lambda *a: passed.append(1) or packets(*a))
    for _ in range(40):
        indices = sorted(draw.sample(range(len(whole)), draw.randint(1, 3)))
        assert torch.equal(read_frames(path, lambda n, indices=indices: indices), whole[indices]), indices
    # One pass finds the times, as long as the file is the same; what lies in the first group is read from the beginning.
    if name in ("closed.mp4", "hevc-open.mp4", "vp9.webm"):
        assert len(jumped) > 10
        assert len(passed) + len(jumped) == 41
    os.utime(path, ns=(1, 1))
    before = len(container._TIMELINES)
    read_frames(path, lambda n: [n - 1])
    assert len(container._TIMELINES) == 2 * before


def test_only_some_large_files_are_remembered(made, monkeypatch):
    path, _ = made("closed.mp4")
    monkeypatch.setattr(container, "MAX_BUFFER_BYTES", 300)
    monkeypatch.setattr(container, "_TIMELINES", {})
    monkeypatch.setattr(container, "MAX_TIMELINES", 3)
    for k in range(6):
        os.utime(path, ns=(k, k))
        read_frames(path, lambda n: [0])
    assert [identity[2] for identity in container._TIMELINES] == [3, 4, 5]


@pytest.mark.parametrize("kind", ["wrong-time", "lost", "corrupt"])
def test_what_does_not_come_out_as_expected_is_decoded_in_turn(kind, made, monkeypatch):
    path, whole = made("closed.mp4")
    decode, broken = container.Container.decode, []

    def wrong(self, packet):
        frames = decode(self, packet)
        if frames and len(broken) < 1:
            broken.append(kind)
            if kind == "lost":
                return frames[1:]
            if kind == "wrong-time":
                frames[0].pts += 1
            else:
                raise Unproven
        return frames

    monkeypatch.setattr(container.Container, "decode", wrong)
    assert torch.equal(read_frames(path, lambda n: [1, 30, 70]), whole[[1, 30, 70]])
    assert broken


def test_real_files_give_the_frames_of_a_full_decode(real_data):
    """One clip in a hundred of the word set, and all of the others."""
    files = sorted(real_data("miracl_words").glob("clips/*/*.mp4"))[::100]
    for name in ("rgb_two_class", "samples", "finegym"):
        files += sorted(path for path in real_data(name).rglob("*") if path.suffix in (".mp4", ".avi", ".gif"))
    for path in files:
        _same_as_a_full_decode(path)


def _same_as_a_full_decode(path, most=60):
    """Compares sparse samples with one decode in turn that keeps no more than is compared."""
    n = len(frame_times(path).times)
    if os.path.getsize(path) > 1_000_000:
        n = min(n, most)
    choices = [Uniform(8)(n), Uniform(3)(n), RandomInSegment(5)(n, torch.Generator().manual_seed(n)), [n // 2], [n - 1]]
    needed = {index for choice in choices for index in choice}
    with av.open(str(path)) as source:
        whole = {}
        for index, frame in enumerate(source.decode(video=0)):
            if index in needed:
                whole[index] = torch.from_numpy(frame.to_ndarray(format="rgb24"))
            if index == n - 1:
                break
    for choice in choices:
        found = read_frames(path, lambda _, choice=choice: choice)
        assert all(torch.equal(frame, whole[index]) for frame, index in zip(found, choice, strict=True)), path
