"""Small real videos, written with PyAV, and a plain full decode to compare with."""

from fractions import Fraction

import numpy as np
import pytest
import torch

_X265 = "b-adapt=0:scenecut=0:pools=none:log-level=none"


def _picture(t, height, width):
    """A slope that grows brighter with t, so that every frame differs from its neighbours in every pixel."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 2 + t * 9, y * 2 + t * 8, 99 - (x + y) // 2 + t * 9], -1).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def write_video():
    """``write_video(path, codec, ...)`` writes a video and returns its path.

    ``stamps`` are ticks of 1/``rate`` s; ``first`` is the number of the first picture.
    """
    av = pytest.importorskip("av")

    def write(
        path,
        codec="libx264",
        frames=12,
        height=48,
        width=64,
        pix_fmt="yuv420p",
        rate=10,
        stamps=None,
        b_frames=0,
        container_options=None,
        options=None,
        first=0,
    ):
        with av.open(str(path), "w", options=container_options or {}) as out:
            stream = out.add_stream(codec, rate=rate, options=options or {})
            stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
            stream.codec_context.gop_size = 6
            stream.codec_context.thread_count = 1
            if b_frames:
                stream.codec_context.max_b_frames = b_frames
                # Pictures this simple would else be coded without B-frames.
                forced = {"libx264": {"x264-params": "b-adapt=0:scenecut=0"}, "libx265": {"x265-params": _X265}}
                stream.options = {**(options or {}), **forced.get(codec, {})}
            for t in range(frames):
                frame = av.VideoFrame.from_ndarray(_picture(first + t, height, width), format="rgb24")
                frame.pts = t if stamps is None else stamps[t]
                frame.time_base = 1 / Fraction(rate)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="session")
def decode_all():
    """``decode_all(path)``: every frame a plain sequential decode gives, unscaled, (T, H, W, 3)."""
    av = pytest.importorskip("av")

    def decode(path, **scale):
        with av.open(str(path)) as source:
            frames = [frame.to_ndarray(format="rgb24", **scale) for frame in source.decode(video=0)]
        return torch.from_numpy(np.stack(frames))

    return decode


@pytest.fixture
def touch(tmp_path):
    """``touch("a/1.mp4", **{"list.txt": "content"})`` writes files below a folder and returns it; the first are empty."""

    def make(*names, root=tmp_path, **contents):
        for name, content in {**dict.fromkeys(names, ""), **contents}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        return root

    return make


@pytest.fixture
def damaged_late(write_video, tmp_path):
    """A clip whose last picture is lost, which only a view of its end meets."""
    av = pytest.importorskip("av")
    path = write_video(tmp_path / "damaged.mp4")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as source:
        start, size = max((packet.pos, packet.size) for packet in source.demux(video=0) if packet.size)
    data[start + 4 : start + size] = bytes(size - 4)
    path.write_bytes(data)
    return path


@pytest.fixture
def miscounted(write_video, tmp_path):
    """A transport stream that begins between two key frames: the decoder starts at the second, and drops frames."""
    av = pytest.importorskip("av")
    path = write_video(tmp_path / "a.ts", b_frames=3)
    with av.open(str(path)) as source:
        second = [packet.pos for packet in source.demux(video=0) if packet.size][1]
    data = path.read_bytes()
    # The tables of the stream are in the first three packets of 188 bytes.
    path.write_bytes(data[: 3 * 188] + data[second:])
    return path
