"""Stored clips: the samples of a decode, bit for bit, and never those of another video."""

import os
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch

from taggnn.data.clips import Clip
from taggnn.data.loader import ClipData
from taggnn.data.video import store
from taggnn.data.video.reading import VideoError, read_frames
from taggnn.data.video.sampling import Dense, RandomInSegment, Uniform, draws
from taggnn.data.video.source import VideoSource
from taggnn.data.video.store import ClipStore

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
def no_decode(monkeypatch):
    """From now on nothing may be decoded."""

    def refuse(*_, **__):
        raise AssertionError("decoded")

    def forbid():
        monkeypatch.setattr(store, "read_frames", refuse)

    return forbid


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("short_side", [None, 32])
@pytest.mark.parametrize("cut", [(None, None, None), (0.2, 0.9, None), (5.3, 6.0, 5.0)], ids=["whole", "cut", "origin"])
def test_samples_are_those_of_a_decode(clip, tmp_path, no_decode, sampler, short_side, cut):
    start, stop, origin = cut
    clip = replace(clip, start=start, stop=stop, origin=origin)
    seeds = [None, 0, 1, 2]
    expected = [decoded(clip, sampler, short_side, seed) for seed in seeds]
    kept = ClipStore(tmp_path / "store")
    first = [kept.frames(clip, sampler, short_side, drawn(seed)) for seed in seeds]
    no_decode()
    again = [ClipStore(tmp_path / "store").frames(clip, sampler, short_side, drawn(seed)) for seed in seeds]
    for frames in (first, again):
        assert all(torch.equal(one, other) for one, other in zip(frames, expected, strict=True))
        assert all(one.is_contiguous() for one in frames)


def test_only_what_may_be_drawn_is_stored(clip, tmp_path):
    kept = ClipStore(tmp_path / "store")
    kept.frames(clip, Uniform(3), 32, drawn(0))
    assert [path.name for path in (tmp_path / "store").iterdir()] == [
        "short32-uniform-frames-3-jitter-0-0-scale-1-0-1-0"
    ]
    few = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.safetensors"))
    assert 3 * 32 * 43 * 3 < few < 3 * 32 * 43 * 3 + 1000
    kept.frames(clip, RandomInSegment(3), 32, drawn(0))
    assert (tmp_path / "store" / "short32-all").is_dir()
    assert "2 files" in kept.summary()


@pytest.mark.parametrize(("sampler", "random"), [(one, one != Uniform(5)) for one in SAMPLERS], ids=repr)
def test_what_is_drawn_at_random(sampler, random):
    assert draws(sampler, drawn(0)) is random
    assert not draws(sampler, None)


def test_another_video_in_the_same_place_is_decoded_and_stored_anew(clip, tmp_path, write_video, no_decode):
    kept = ClipStore(tmp_path / "store")
    old = kept.frames(clip, RandomInSegment(4), 32, drawn(0))
    write_video(clip.path, frames=12, height=48, width=64, rate=12, b_frames=0, options={"crf": "50"})
    new = kept.frames(clip, RandomInSegment(4), 32, drawn(0))
    assert not torch.equal(new, old)
    assert torch.equal(new, decoded(clip, RandomInSegment(4), 32, 0))
    no_decode()
    assert torch.equal(kept.frames(clip, RandomInSegment(4), 32, drawn(0)), new)
    assert len(list((tmp_path / "store").rglob("*.safetensors"))) == 1


def test_a_touched_video_is_decoded_anew(clip, tmp_path, no_decode):
    kept = ClipStore(tmp_path / "store")
    kept.frames(clip, RandomInSegment(4), 32, drawn(0))
    os.utime(clip.path, ns=(0, 0))
    no_decode()
    with pytest.raises(AssertionError, match="decoded"):
        kept.frames(clip, RandomInSegment(4), 32, drawn(0))


def test_a_video_of_another_size_is_decoded_anew_whatever_its_time(clip, tmp_path, write_video):
    kept, state = ClipStore(tmp_path / "store"), os.stat(clip.path)
    kept.frames(clip, RandomInSegment(4), 32, drawn(0))
    write_video(clip.path, frames=12, height=48, width=64, rate=12, b_frames=0, options={"crf": "50"})
    os.utime(clip.path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert os.stat(clip.path).st_size != state.st_size
    found = kept.frames(clip, RandomInSegment(4), 32, drawn(0))
    assert torch.equal(found, decoded(clip, RandomInSegment(4), 32, 0))


@pytest.mark.parametrize("what", ["PyAV", "FFmpeg", "our own part"])
def test_another_decoder_stores_anew(clip, tmp_path, monkeypatch, no_decode, what):
    av, kept = pytest.importorskip("av"), ClipStore(tmp_path / "store")
    kept.frames(clip, RandomInSegment(4), 32, drawn(0))
    if what == "PyAV":
        monkeypatch.setattr(av, "__version__", "99.0.0")
    elif what == "FFmpeg":
        monkeypatch.setattr(av, "library_versions", {**av.library_versions, "libswscale": (99, 0, 0)})
    else:
        monkeypatch.setattr(store, "FORM", store.FORM + 1)
    kept.frames(clip, RandomInSegment(4), 32, drawn(0))
    no_decode()
    kept.frames(clip, RandomInSegment(4), 32, drawn(0))
    monkeypatch.undo()
    no_decode()
    with pytest.raises(AssertionError, match="decoded"):
        kept.frames(clip, RandomInSegment(4), 32, drawn(0))


def test_a_store_that_cannot_be_written_is_told_once_and_training_goes_on(clip, tmp_path, monkeypatch, caplog):
    def refused(*_):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    kept = ClipStore(tmp_path / "store")
    monkeypatch.setattr(store.shards, "write_shard", refused)
    for seed in (0, 1):
        found = kept.frames(clip, RandomInSegment(4), 32, drawn(seed))
        assert torch.equal(found, decoded(clip, RandomInSegment(4), 32, seed))
    assert caplog.text.count("Permission denied") == 1
    assert "no more clips are stored" in caplog.text


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_file_is_no_store(tmp_path, below):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match=r"--video\.store \S+: .*is a file, not a folder"):
        ClipStore(tmp_path / "file" / below)


def test_a_folder_that_may_not_be_written_is_no_store(tmp_path, monkeypatch):
    monkeypatch.setattr(store.shards.os, "access", lambda place, how: False)
    with pytest.raises(PermissionError, match=r"--video\.store \S+: cannot be written"):
        ClipStore(tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_folder_that_cannot_be_made_is_no_store(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "x")
    with pytest.raises(OSError, match=r"--video\.store \S+: cannot be made \("):
        ClipStore(tmp_path / "link")


def test_an_empty_path_is_not_the_working_directory():
    with pytest.raises(ValueError, match=r"--video\.store: an empty path"):
        ClipStore("")


def test_the_summary_leaves_out_what_is_being_written(clip, tmp_path, monkeypatch):
    kept = ClipStore(tmp_path / "store")
    kept.frames(clip, RandomInSegment(4), 32, drawn(0))
    (path,) = (tmp_path / "store").rglob("*.safetensors")
    (path.parent / ".x.part-1.safetensors").write_bytes(bytes(10))
    # One that is there when the folder is listed, and gone when its size is asked for.
    (path.parent / "y.safetensors").symlink_to(path.parent / "gone.safetensors")
    assert " 1 files" in kept.summary()


@pytest.mark.parametrize("sampler", [Uniform(4), RandomInSegment(4)], ids=repr)
@pytest.mark.parametrize("damage", ["frame", "header", "cut"])
def test_damage_is_told_and_never_used(clip, tmp_path, caplog, sampler, damage):
    kept, expected = ClipStore(tmp_path / "store"), decoded(clip, sampler, 32, 0)
    kept.frames(clip, sampler, 32, drawn(0))
    (path,) = (tmp_path / "store").rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-100]
    else:
        content[-50 if damage == "frame" else 3] ^= 64
        if damage == "frame":
            content[-4000:] = bytes(4000)
    path.write_bytes(content)
    assert torch.equal(kept.frames(clip, sampler, 32, drawn(0)), expected)
    assert str(path) in caplog.text
    caplog.clear()
    for _ in range(2):
        assert torch.equal(kept.frames(clip, sampler, 32, drawn(0)), expected)
    assert not caplog.text


def test_a_clip_that_ends_in_damage_is_decoded_each_time(write_video, tmp_path):
    path = write_video(tmp_path / "whole.avi", codec="mpeg4", frames=40)
    data = path.read_bytes()
    # A cut before the end of what is there can be read, all frames of the file cannot.
    path.write_bytes(data[: int(len(data) * 0.8)])
    kept, clip = ClipStore(tmp_path / "store"), Clip(str(path), 0, "whole.avi")
    with pytest.raises(VideoError):
        kept.frames(clip, RandomInSegment(3), 32, drawn(0))
    with pytest.raises(VideoError):
        kept.frames(clip, Uniform(3), 32, drawn(0))
    early = replace(clip, stop=1.0)
    assert torch.equal(kept.frames(early, RandomInSegment(3), 32, drawn(0)), decoded(early, RandomInSegment(3), 32, 0))


def test_a_sample_of_a_clip_not_all_of_which_can_be_decoded(clip, tmp_path, monkeypatch):
    def read(path, sample, **options):
        found = read_frames(path, sample, **options)
        if len(found) == 12:
            raise VideoError(path, "its last frame is damaged")
        return found

    monkeypatch.setattr(store, "read_frames", read)
    for _ in range(2):
        kept = ClipStore(tmp_path / "store")
        assert torch.equal(kept.frames(clip, Dense(3), 32, drawn(4)), decoded(clip, Dense(3), 32, 4))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_a_sampler_that_is_asked_twice_is_asked_twice(clip, tmp_path, monkeypatch, sampler):
    def read(path, sample, **options):
        # As where decoding shows that the container gave a wrong number of frames.
        sample(10)
        return read_frames(path, sample, **options)

    monkeypatch.setattr(store, "read_frames", read)
    for seed in (0, 1):
        generator = drawn(seed)
        sampler(10, generator=generator)
        expected = read_frames(clip.path, lambda n: sampler(n, generator=generator), 32)  # noqa: B023
        assert torch.equal(ClipStore(tmp_path / "store").frames(clip, sampler, 32, drawn(seed)), expected)


def test_a_very_long_clip_is_decoded_each_time(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MOST_BYTES", 12 * 6 * 32**2 - 1)
    kept = ClipStore(tmp_path / "store")
    for seed in (0, 1):
        assert torch.equal(
            kept.frames(clip, RandomInSegment(4), 32, drawn(seed)), decoded(clip, RandomInSegment(4), 32, seed)
        )
    assert sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.safetensors")) < 1000


def test_a_disk_nearly_full_ends_the_storing_and_nothing_else(clip, tmp_path, monkeypatch, caplog):
    usage = store.shutil.disk_usage(tmp_path)._replace(free=store.RESERVE + 10)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda place: usage)
    kept = ClipStore(tmp_path / "store")
    for seed in (0, 1):
        assert torch.equal(kept.frames(clip, Dense(3), 32, drawn(seed)), decoded(clip, Dense(3), 32, seed))
    assert caplog.text.count("no more clips are stored") == 1
    assert not list((tmp_path / "store").rglob("*.safetensors"))


def test_an_absent_video_is_the_error_of_a_decode(tmp_path):
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        ClipStore(tmp_path).frames(Clip(str(tmp_path / "gone.mp4"), 0, "gone.mp4"), Uniform(2), 32)


def _fill(folder, clip, seed):
    return [ClipStore(folder).frames(clip, RandomInSegment(4), 32, drawn(seed)).sum().item() for _ in range(5)]


def test_processes_may_fill_one_folder_together(clip, tmp_path):
    expected = [int(decoded(clip, RandomInSegment(4), 32, seed).sum()) for seed in range(4)]
    with get_context("fork").Pool(4) as pool:
        found = pool.starmap(_fill, [(tmp_path / "store", clip, seed) for seed in range(4)])
    assert found == [[one] * 5 for one in expected]
    assert len(list((tmp_path / "store").rglob("*"))) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_two_epochs_with_a_store_are_those_without(videos, tmp_path, workers):
    options = {"frames": 4, "short_side": 24, "size": 16, "sampling": "segment", "erase": 0.5}
    epochs = []
    for folder in (None, tmp_path / "store"):
        source = VideoSource(**options, flip=0, store=folder and str(folder))
        data = ClipData(source, str(videos), batch_size=4, seed=3, workers=workers)
        loader = data.train_dataloader()
        batches = []
        for epoch in range(2):
            loader.order.set_epoch(epoch)
            batches += [*loader, *data.val_dataloader()]
        epochs.append(batches)
    assert len(epochs[0]) == len(epochs[1]) == 2 * (6 + 4)
    for plain, stored in zip(*epochs, strict=True):
        assert torch.equal(plain.x, stored.x)
        assert torch.equal(plain.label, stored.label)
        assert plain.skipped == stored.skipped
    # 16 training clips of which any frame may be drawn, and 8 to choose on; of the bad ones nothing.
    sizes = [path.stat().st_size for path in (tmp_path / "store").rglob("*.safetensors")]
    assert sum(size > 2000 for size in sizes) == 24
