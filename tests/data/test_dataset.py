"""Samples, batches and single clips."""

import numpy as np
import pytest
import torch

from taggnn.data.clips import Clip, ClipList
from taggnn.data.dataset import BadClip, ClipDataset, collate, load_clip
from taggnn.data.sampling import RandomInSegment, Uniform
from taggnn.data.synthetic import make_clip, write_video
from taggnn.data.transforms import Transform
from taggnn.data.video import VideoError

PREPROCESS = {
    "frames": 4,
    "sampling": "uniform",
    "stride": 1,
    "short_side": 20,
    "size": [16, 12],
    "mean": [0.45, 0.45, 0.45],
    "std": [0.225, 0.225, 0.225],
    "grey": False,
    "stretch": False,
    "standardise": False,
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips and one file that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(2):
        write_video(folder / f"{number}.mp4", make_clip("left", 9, 32, np.random.default_rng(number)))
    (folder / "2.mp4").write_text("no video")
    rows = tuple(Clip(str(folder / f"{number}.mp4"), number, f"{number}.mp4") for number in range(3))
    return ClipList(rows, ("a", "b", "c"), str(folder))


def test_a_sample_and_its_shape(clips):
    sample = ClipDataset(clips, Uniform(4), Transform(size=(16, 12)), short_side=20)[1, 0]
    assert sample["clip"].shape == (3, 4, 16, 12)
    assert (sample["label"], sample["index"]) == (1, 1)


def test_a_training_sample_follows_from_its_seed(clips):
    dataset = ClipDataset(clips, RandomInSegment(4), Transform(size=16, train=True), short_side=20)
    torch.manual_seed(1)
    first = dataset[0, 11]["clip"]
    torch.rand(3)
    assert torch.equal(dataset[0, 11]["clip"], first)
    assert len({dataset[0, seed]["clip"].sum().item() for seed in range(5)}) == 5


def test_the_seed_draws_the_frames_too(clips):
    fixed = Transform(size=20, train=True, flip=0.0, scale=(1.0, 1.0))
    dataset = ClipDataset(clips, RandomInSegment(3), fixed, short_side=20)
    assert len({dataset[0, seed]["clip"].sum().item() for seed in range(5)}) > 1


def test_evaluation_ignores_the_seed(clips):
    dataset = ClipDataset(clips, RandomInSegment(4), Transform(size=16), short_side=20)
    assert torch.equal(dataset[0, 1]["clip"], dataset[0, 2]["clip"])


def test_a_file_that_is_no_video_is_a_bad_clip_with_a_reason(clips):
    bad = ClipDataset(clips, Uniform(4), Transform(size=16))[2, 0]
    assert isinstance(bad, BadClip)
    assert (bad.name, bad.path) == ("2.mp4", clips[2].path)
    assert bad.reason
    assert bad.path not in bad.reason


def test_a_decode_given_up_is_a_bad_clip_with_a_reason(clips):
    bad = ClipDataset(clips, Uniform(4), Transform(size=16), give_up=1e-6)[0, 0]
    assert isinstance(bad, BadClip)
    assert "given up after 1e-06 s" in bad.reason


def test_a_clip_cut_out_of_an_original_counts_in_its_seconds(clips):
    whole = clips[0]
    cut = Clip(whole.path, 0, "cut", start=10.0 + 2 / 25, stop=10.0 + 6 / 25, origin=10.0)
    same = Clip(whole.path, 0, "same", start=2 / 25, stop=6 / 25)
    dataset = ClipDataset(ClipList((cut, same), ("a",), ""), Uniform(4), Transform(size=16))
    assert torch.equal(dataset[0, 0]["clip"], dataset[1, 0]["clip"])


def test_a_batch_leaves_bad_clips_out_and_names_them(clips):
    dataset = ClipDataset(clips, Uniform(4), Transform(size=(16, 12)), short_side=20)
    batch = collate([dataset[index, 0] for index in (1, 2, 0)])
    assert batch["clip"].shape == (2, 3, 4, 16, 12)
    assert batch["label"].tolist() == [1, 0]
    assert batch["index"].tolist() == [1, 0]
    ((name, path, reason),) = batch["skipped"]
    assert (name, path, type(reason)) == ("2.mp4", clips[2].path, str)


def test_a_batch_of_bad_clips_is_empty():
    batch = collate([BadClip("a", "b/a", "broken")])
    assert batch["clip"].shape[:2] == (0, 3)
    assert batch["label"].shape == batch["index"].shape == (0,)
    assert batch["label"].dtype == torch.long
    assert batch["skipped"] == [("a", "b/a", "broken")]


def test_a_single_clip_is_loaded_as_evaluation_sees_it(clips):
    expected = ClipDataset(clips, Uniform(4), Transform(size=(16, 12)), short_side=20)[1, 0]["clip"]
    assert torch.equal(load_clip(clips[1].path, PREPROCESS), expected)
    with pytest.raises(VideoError):
        load_clip(clips[2].path, PREPROCESS)


def test_a_single_clip_with_dense_sampling_and_a_cut(clips):
    dense = PREPROCESS | {"sampling": "dense", "stride": 2, "grey": True}
    whole = load_clip(clips[0].path, dense)
    cut = load_clip(clips[0].path, dense, start=0.3, stop=0.6)
    assert whole.shape == cut.shape == (3, 4, 16, 12)
    assert torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, cut)
