"""Cached clips: the samples of a decode, bit for bit, and never those of another video."""

import os
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch

from taggnn.data.clips import Clip
from taggnn.data.frame_sampling import Dense, RandomInSegment, Uniform, draws
from taggnn.data.loader import ClipData
from taggnn.data.video import frame_cache
from taggnn.data.video.frame_cache import FrameCache
from taggnn.data.video.reading import VideoError, read_frames
from taggnn.data.video.source import VideoSource

SAMPLERS = [Uniform(5), Uniform(4, jitter=0.5), RandomInSegment(5), RandomInSegment(3, (0.4, 0.8)), Dense(6, 3)]


def drawn(seed):
    return None if seed is None else torch.Generator().manual_seed(seed)


def decoded(clip, sampler, short_side, seed):
    generator = drawn(seed)
    sample = lambda n: sampler(n, generator=generator)  # noqa: E731
    return read_frames(clip.path, sample, short_side, clip.start, clip.stop, origin=clip.origin)


@pytest.fixture
def clip(write_video, tmp_path):
    return Clip(str(write_video(tmp_path / "video.mp4", frames=12, height=48, width=64, b_frames=2)), 0, "video.mp4")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def cache(folder):
    return FrameCache(folder)


def shards_in(folder):
    return list(folder.rglob("*.safetensors"))


@pytest.fixture
def no_decode(monkeypatch):
    """From now on nothing may be decoded."""

    def refuse(*_, **__):
        raise AssertionError("decoded")

    def forbid():
        monkeypatch.setattr(frame_cache, "read_frames", refuse)

    return forbid


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("short_side", [None, 32])
@pytest.mark.parametrize("cut", [(None, None, None), (0.2, 0.9, None), (5.3, 6.0, 5.0)], ids=["whole", "cut", "origin"])
def test_samples_are_those_of_a_decode(clip, no_decode, sampler, short_side, cut, cache, folder):
    start, stop, origin = cut
    clip = replace(clip, start=start, stop=stop, origin=origin)
    seeds = [None, 0, 1, 2]
    expected = [decoded(clip, sampler, short_side, seed) for seed in seeds]
    first = [cache.frames(clip, sampler, short_side, drawn(seed)) for seed in seeds]
    no_decode()
    again = [FrameCache(folder).frames(clip, sampler, short_side, drawn(seed)) for seed in seeds]
    for frames in (first, again):
        assert all(torch.equal(one, other) for one, other in zip(frames, expected, strict=True))
        assert all(one.is_contiguous() for one in frames)


def test_only_what_may_be_drawn_is_cached(clip, cache, folder):
    cache.frames(clip, Uniform(3), 32, drawn(0))
    assert [path.name for path in folder.iterdir()] == ["short32-uniform-frames-3-jitter-0-0-scale-1-0-1-0"]
    few = sum(path.stat().st_size for path in shards_in(folder))
    assert 3 * 32 * 43 * 3 < few < 3 * 32 * 43 * 3 + 1000
    cache.frames(clip, RandomInSegment(3), 32, drawn(0))
    assert (folder / "short32-all").is_dir()
    assert "2 files" in cache.summary()


@pytest.mark.parametrize(("sampler", "random"), [(one, one != Uniform(5)) for one in SAMPLERS], ids=repr)
def test_what_is_drawn_at_random(sampler, random):
    assert draws(sampler, drawn(0)) is random
    assert not draws(sampler, None)


def test_another_video_in_the_same_place_is_decoded_and_cached_anew(clip, write_video, no_decode, cache, folder):
    old = cache.frames(clip, RandomInSegment(4), 32, drawn(0))
    write_video(clip.path, frames=12, height=48, width=64, rate=12, b_frames=0, options={"crf": "50"})
    new = cache.frames(clip, RandomInSegment(4), 32, drawn(0))
    assert not torch.equal(new, old)
    assert torch.equal(new, decoded(clip, RandomInSegment(4), 32, 0))
    no_decode()
    assert torch.equal(cache.frames(clip, RandomInSegment(4), 32, drawn(0)), new)
    assert len(shards_in(folder)) == 1


def test_a_touched_video_is_decoded_anew(clip, no_decode, cache):
    cache.frames(clip, RandomInSegment(4), 32, drawn(0))
    os.utime(clip.path, ns=(0, 0))
    no_decode()
    with pytest.raises(AssertionError, match="decoded"):
        cache.frames(clip, RandomInSegment(4), 32, drawn(0))


def test_a_video_of_another_size_is_decoded_anew_whatever_its_time(clip, write_video, folder):
    cache, state = FrameCache(folder), os.stat(clip.path)
    cache.frames(clip, RandomInSegment(4), 32, drawn(0))
    write_video(clip.path, frames=12, height=48, width=64, rate=12, b_frames=0, options={"crf": "50"})
    os.utime(clip.path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert os.stat(clip.path).st_size != state.st_size
    found = cache.frames(clip, RandomInSegment(4), 32, drawn(0))
    assert torch.equal(found, decoded(clip, RandomInSegment(4), 32, 0))


@pytest.mark.parametrize("what", ["PyAV", "FFmpeg", "format version"])
def test_another_decoder_makes_the_cache_anew(clip, monkeypatch, no_decode, what, folder):
    av, cache = pytest.importorskip("av"), FrameCache(folder)
    cache.frames(clip, RandomInSegment(4), 32, drawn(0))
    if what == "PyAV":
        monkeypatch.setattr(av, "__version__", "99.0.0")
    elif what == "FFmpeg":
        monkeypatch.setattr(av, "library_versions", {**av.library_versions, "libswscale": (99, 0, 0)})
    else:
        monkeypatch.setattr(frame_cache, "FORMAT_VERSION", -1)
    cache.frames(clip, RandomInSegment(4), 32, drawn(0))
    no_decode()
    cache.frames(clip, RandomInSegment(4), 32, drawn(0))
    monkeypatch.undo()
    no_decode()
    with pytest.raises(AssertionError, match="decoded"):
        cache.frames(clip, RandomInSegment(4), 32, drawn(0))


def test_a_cache_that_cannot_be_written_is_reported_once_and_training_continues(
    clip, tmp_path, monkeypatch, caplog, cache
):
    def refused(*_):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(frame_cache.shards, "write_shard", refused)
    for seed in (0, 1):
        found = cache.frames(clip, RandomInSegment(4), 32, drawn(seed))
        assert torch.equal(found, decoded(clip, RandomInSegment(4), 32, seed))
    assert caplog.text.count("Permission denied") == 1
    assert "no more clips are cached" in caplog.text


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_file_is_no_cache(tmp_path, below):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match=r"--video\.frame_cache \S+: .*is a file, not a folder"):
        FrameCache(tmp_path / "file" / below)


def test_a_folder_that_may_not_be_written_is_no_cache(monkeypatch, folder):
    monkeypatch.setattr(frame_cache.shards.os, "access", lambda place, how: False)
    with pytest.raises(PermissionError, match=r"--video\.frame_cache \S+: cannot be written"):
        FrameCache(folder)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_no_cache(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "x")
    with pytest.raises(OSError, match=r"--video\.frame_cache \S+: cannot be made \("):
        FrameCache(tmp_path / "link")


def test_an_empty_path_is_not_the_working_directory():
    with pytest.raises(ValueError, match=r"--video\.frame_cache: an empty path"):
        FrameCache("")


def test_the_summary_leaves_out_what_is_being_written(clip, monkeypatch, cache, folder):
    cache.frames(clip, RandomInSegment(4), 32, drawn(0))
    (path,) = shards_in(folder)
    (path.parent / ".x.part-1.safetensors").write_bytes(bytes(10))
    # One that is there when the folder is listed, and gone when its size is read.
    (path.parent / "y.safetensors").symlink_to(path.parent / "gone.safetensors")
    assert " 1 files" in cache.summary()


@pytest.mark.parametrize("sampler", [Uniform(4), RandomInSegment(4)], ids=repr)
@pytest.mark.parametrize("damage", ["frame", "header", "cut"])
def test_damage_is_logged_and_never_used(clip, caplog, sampler, damage, folder):
    cache, expected = FrameCache(folder), decoded(clip, sampler, 32, 0)
    cache.frames(clip, sampler, 32, drawn(0))
    (path,) = shards_in(folder)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-100]
    else:
        content[-50 if damage == "frame" else 3] ^= 64
        if damage == "frame":
            content[-4000:] = bytes(4000)
    path.write_bytes(content)
    assert torch.equal(cache.frames(clip, sampler, 32, drawn(0)), expected)
    assert str(path) in caplog.text
    caplog.clear()
    for _ in range(2):
        assert torch.equal(cache.frames(clip, sampler, 32, drawn(0)), expected)
    assert not caplog.text


def test_a_clip_that_ends_in_damage_is_decoded_each_time(write_video, tmp_path, folder):
    path = write_video(tmp_path / "whole.avi", codec="mpeg4", frames=40)
    data = path.read_bytes()
    # A cut before the end of what is there can be read, all frames of the file cannot.
    path.write_bytes(data[: int(len(data) * 0.8)])
    cache, clip = FrameCache(folder), Clip(str(path), 0, "whole.avi")
    with pytest.raises(VideoError):
        cache.frames(clip, RandomInSegment(3), 32, drawn(0))
    with pytest.raises(VideoError):
        cache.frames(clip, Uniform(3), 32, drawn(0))
    early = replace(clip, stop=1.0)
    assert torch.equal(cache.frames(early, RandomInSegment(3), 32, drawn(0)), decoded(early, RandomInSegment(3), 32, 0))


def test_a_sample_of_a_clip_not_all_of_which_can_be_decoded(clip, monkeypatch, folder):
    def read(path, sample, **options):
        found = read_frames(path, sample, **options)
        if len(found) == 12:
            raise VideoError(path, "its last frame is damaged")
        return found

    monkeypatch.setattr(frame_cache, "read_frames", read)
    for _ in range(2):
        cache = FrameCache(folder)
        assert torch.equal(cache.frames(clip, Dense(3), 32, drawn(4)), decoded(clip, Dense(3), 32, 4))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_a_sampler_that_is_called_twice_is_called_twice(clip, monkeypatch, sampler, folder):
    def read(path, sample, **options):
        # As where decoding shows that the container gave a wrong number of frames.
        sample(10)
        return read_frames(path, sample, **options)

    monkeypatch.setattr(frame_cache, "read_frames", read)
    for seed in (0, 1):
        generator = drawn(seed)
        sampler(10, generator=generator)
        expected = read_frames(clip.path, lambda n: sampler(n, generator=generator), 32)  # noqa: B023
        assert torch.equal(FrameCache(folder).frames(clip, sampler, 32, drawn(seed)), expected)


def test_a_very_long_clip_is_decoded_each_time(clip, monkeypatch, cache, folder):
    monkeypatch.setattr(frame_cache, "MAX_BYTES", 12 * 6 * 32**2 - 1)
    for seed in (0, 1):
        assert torch.equal(
            cache.frames(clip, RandomInSegment(4), 32, drawn(seed)), decoded(clip, RandomInSegment(4), 32, seed)
        )
    assert sum(path.stat().st_size for path in shards_in(folder)) < 1000


def test_a_nearly_full_disk_ends_the_caching_and_nothing_else(clip, tmp_path, monkeypatch, caplog, folder):
    usage = frame_cache.shutil.disk_usage(tmp_path)._replace(free=frame_cache.RESERVE + 10)
    monkeypatch.setattr(frame_cache.shutil, "disk_usage", lambda place: usage)
    cache = FrameCache(folder)
    for seed in (0, 1):
        assert torch.equal(cache.frames(clip, Dense(3), 32, drawn(seed)), decoded(clip, Dense(3), 32, seed))
    assert caplog.text.count("no more clips are cached") == 1
    assert not shards_in(folder)


def test_an_absent_video_is_the_error_of_a_decode(tmp_path):
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        FrameCache(tmp_path).frames(Clip(str(tmp_path / "gone.mp4"), 0, "gone.mp4"), Uniform(2), 32)


def _fill(folder, clip, seed):
    return [FrameCache(folder).frames(clip, RandomInSegment(4), 32, drawn(seed)).sum().item() for _ in range(5)]


def test_processes_may_fill_one_folder_together(clip, folder):
    expected = [int(decoded(clip, RandomInSegment(4), 32, seed).sum()) for seed in range(4)]
    with get_context("fork").Pool(4) as pool:
        found = pool.starmap(_fill, [(folder, clip, seed) for seed in range(4)])
    assert found == [[one] * 5 for one in expected]
    assert len(list(folder.rglob("*"))) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_two_epochs_with_a_cache_are_those_without(videos, workers, folder):
    options = {"frames": 4, "short_side": 24, "size": 16, "sampling": "segment", "random_erasing": 0.5}
    epochs = []
    for cache in (None, str(folder)):
        source = VideoSource(**options, flip=0, frame_cache=cache)
        data = ClipData(source, str(videos), batch_size=4, seed=3, workers=workers)
        loader = data.train_dataloader()
        batches = []
        for epoch in range(2):
            loader.order.set_epoch(epoch)
            batches += [*loader, *data.val_dataloader()]
        epochs.append(batches)
    assert len(epochs[0]) == len(epochs[1]) == 2 * (6 + 4)
    for plain, cached in zip(*epochs, strict=True):
        assert torch.equal(plain.x, cached.x)
        assert torch.equal(plain.label, cached.label)
        assert plain.skipped == cached.skipped
    # 16 training clips of which any frame may be drawn, and 8 to choose on; of the bad ones nothing.
    sizes = [path.stat().st_size for path in shards_in(folder)]
    assert sum(size > 2000 for size in sizes) == 24
