"""The parts of loading go through the same clips with the same frames, and a bare decode goes no further than needed."""

import av
import pytest
import torch

from benchmarks import loading
from taggnn.data.clips import Clip, ClipList
from taggnn.data.dataset import ClipDataset
from taggnn.data.lists.reading import read_clips
from taggnn.data.samplers import SeededSampler
from taggnn.data.video.source import VideoSource


def data_set(clips, frames=4, train=True):
    return ClipDataset(clips, VideoSource(frames, "segment", size=16, short_side=16), train)


@pytest.fixture(scope="module")
def whole(videos):
    return data_set(read_clips(videos / "train"))


def test_a_part_holds_so_many_readable_clips_and_names_the_others(whole):
    few, bad = loading.part_of(whole, 0, 6)
    assert len(few) == 6
    assert len(whole) == 21
    every, bad = loading.part_of(whole, 0, 100)
    assert len(every) == 16
    assert sorted(name.split("/")[-1] for name in bad) == sorted(
        f"a_{kind}.mp4" for kind in ("empty", "text", "truncated", "audio", "no_frames")
    )
    assert loading.part_of(whole, 0, 6)[0].clips == few.clips != loading.part_of(whole, 1, 6)[0].clips


def test_no_readable_clip_is_said(videos):
    bad = Clip(str(videos / "train" / "clockwise" / "a_empty.mp4"), 0, "a")
    with pytest.raises(ValueError, match="here: none of the 1 clips can be read"):
        loading.part_of(data_set(ClipList((bad,), ("a",), "here")), 0, 4)


def test_a_decode_ends_with_the_last_frame_that_training_draws(whole):
    few, _ = loading.part_of(whole, 0, 5)
    keys = list(SeededSampler(5, 0, shuffle=True))
    depths = loading.depths(few, keys)
    for (index, seed), depth in zip(keys, depths, strict=True):
        assert depth.path == few.clips[index].path
        drawn = few.source.train_sampler(8, generator=torch.Generator().manual_seed(seed + 1))
        assert depth.frames == max(drawn) + 1
        assert loading.decode(depth) == depth.frames
    assert min(depth.frames for depth in depths) < 8


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Forty frames, 10 a second, a key frame every ten."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.gop_size = 10
        for shade in range(40):
            picture = torch.full((32, 32, 3), 5 * shade, dtype=torch.uint8).numpy()
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    return str(path)


def test_a_cut_is_decoded_from_its_key_frame_on(long):
    few = data_set(ClipList((Clip(long, 0, "cut", start=2.5, stop=3.0),), ("a",), "here"), frames=5)
    (depth,) = loading.depths(few, [(0, 7)])
    with av.open(long) as container:
        keys = [number for number, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    # Frames 25 to 29 are wanted.
    before = max(number for number in keys if number <= 25)
    assert before > 0
    assert loading.decode(depth) == 30 - before


def test_reading_gives_the_frames_that_the_transform_gets(whole):
    few, _ = loading.part_of(whole, 0, 2)
    plain = loading.untransformed(few)
    key = (1, 11)
    frames = plain[key].x
    assert frames.dtype == torch.uint8
    assert tuple(frames.shape) == (4, 16, 16, 3)
    assert torch.equal(few.source.train_transform.draw(frames, 11)[0], few[key].x)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_hands_out_the_same_in_every_pass(whole, workers):
    few, _ = loading.part_of(whole, 0, 6)
    made = loading.loader(few, 0, 2, workers, pinned=False)
    first, second = ([batch.x for batch in made] for _ in range(2))
    assert len(first) == 3
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_one_thread_is_given_back():
    before = torch.get_num_threads()
    with loading.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
