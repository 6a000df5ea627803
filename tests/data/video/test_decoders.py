"""The other decoder gives the same frames, or leaves the file to PyAV."""

import importlib.util
import sys
import time

import pytest
import torch

from taggnn.data.frame_sampling import Uniform
from taggnn.data.video import decoders
from taggnn.data.video.reading import VideoError, frame_times, read_frames
from taggnn.data.video.source import VideoSource

pytest.importorskip("av")


@pytest.fixture(scope="module")
def torchcodec():
    if importlib.util.find_spec("torchcodec") is None:
        pytest.skip("torchcodec is not installed")
    try:
        decoders.chosen("torchcodec")
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def path(tmp_path_factory, write_video):
    return write_video(tmp_path_factory.mktemp("clip") / "a.mp4", frames=30, b_frames=3)


def _taken(monkeypatch):
    """Whether torchcodec gave the frames, for each read."""
    taken, decode = [], decoders.torchcodec_frames

    def watched(*arguments):
        taken.append(False)
        frames = decode(*arguments)
        taken[-1] = True
        return frames

    monkeypatch.setattr("taggnn.data.video.reading.torchcodec_frames", watched)
    return taken


def test_torchcodec_gives_the_frames_of_pyav(torchcodec, path, monkeypatch):
    taken, times = _taken(monkeypatch), frame_times(path).times
    for sample in (range, Uniform(5), lambda n: [n - 1, 3, 3]):
        other = read_frames(path, sample, decoder="torchcodec").int()
        # Its FFmpeg may be another than that of PyAV, and round otherwise.
        assert (other - read_frames(path, sample).int()).abs().max() <= 2
    cut = {"start": times[4], "stop": times[9]}
    other = read_frames(path, range, decoder="torchcodec", **cut)
    assert (other.int() - read_frames(path, range, **cut).int()).abs().max() <= 2
    assert taken == [True] * 4


def test_scaled_frames_are_close(torchcodec, path):
    other, ours = (read_frames(path, range, 24, decoder=name) for name in ("torchcodec", "pyav"))
    assert other.shape == ours.shape
    assert (other.float() - ours.float()).abs().mean() < 3


def test_what_torchcodec_counts_otherwise_is_left_to_pyav(torchcodec, write_video, tmp_path, monkeypatch):
    taken = _taken(monkeypatch)
    path = write_video(tmp_path / "a.avi", "mpeg4", frames=12, b_frames=2)
    assert torch.equal(read_frames(path, range, decoder="torchcodec"), read_frames(path, range))
    assert not any(taken)
    (tmp_path / "b.mp4").write_text("no video")
    with pytest.raises(VideoError, match="not a video"):
        read_frames(tmp_path / "b.mp4", range, decoder="torchcodec")


def test_a_slow_decode_is_given_up(torchcodec, path, monkeypatch):
    clock = iter(range(0, 10**6, 1))
    for name in ("monotonic", "thread_time"):
        monkeypatch.setattr(time, name, lambda: next(clock))
    with pytest.raises(VideoError, match="given up after 35 s"):
        read_frames(path, range, decode_timeout=35, decoder="torchcodec")


def test_auto_is_pyav():
    assert decoders.chosen("auto") == "pyav"


def test_an_unknown_decoder_is_refused(path):
    with pytest.raises(ValueError, match=r"unknown decoder 'decord'\. Possible: auto, pyav, torchcodec"):
        read_frames(path, range, decoder="decord")


@pytest.mark.parametrize("error", [ImportError("no module"), RuntimeError("Could not load libtorchcodec\n...")])
def test_torchcodec_that_cannot_be_imported_is_refused_before_any_work(error, path, monkeypatch):
    class Broken:
        def find_spec(self, name, *_):
            if name.startswith("torchcodec"):
                raise error

    for name in [name for name in sys.modules if name.startswith("torchcodec")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    message = f"decoder 'torchcodec' cannot be imported .{str(error).splitlines()[0]}"
    with pytest.raises(ValueError, match=message):
        read_frames(path, range, decoder="torchcodec")
    with pytest.raises(ValueError, match=message):
        VideoSource(decoder="torchcodec")
