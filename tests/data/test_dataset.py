"""Samples, batches and single clips."""

import numpy as np
import pytest
import torch

from taggnn.data.clips import Clip, ClipList
from taggnn.data.dataset import ClipDataset, collate
from taggnn.data.frame_sampling import RandomInSegment, Uniform
from taggnn.data.samplers import seed_of
from taggnn.data.synthetic import make_clip, write_video
from taggnn.data.video import container, source
from taggnn.data.video.reading import VideoError
from taggnn.data.video.source import VideoSource
from taggnn.data.video.transforms import Transform
from taggnn.data.views import clip_views
from taggnn.types import BadClip, Sample

PREPROCESS = {"frames": 4, "short_side": 20, "size": [16, 12]}
SPEC = VideoSource(**PREPROCESS).spec


def made(sampler, transform, short_side=None, **options):
    """A source of these parts, in training and in evaluation."""
    source = VideoSource(short_side=short_side, **options)
    source.sampler = source.train_sampler = sampler
    source.transform = source.train_transform = transform
    return source


def samples_of(clips, sampler, transform, short_side=None, flipped_labels=None, **options):
    return ClipDataset(clips, made(sampler, transform, short_side, **options), transform.train, flipped_labels)


def load_clip(path, preprocess, **cut):
    """One file as the evaluation of a model does."""
    (clip,) = next(clip_views(path, VideoSource(**preprocess), **cut))
    return clip


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
    sample = samples_of(clips, Uniform(4), Transform(size=(16, 12)), short_side=20)[1, 0]
    assert sample.x.shape == (3, 4, 16, 12)
    assert (sample.label, sample.index) == (1, 1)


def test_a_training_sample_follows_from_its_seed(clips):
    dataset = samples_of(clips, RandomInSegment(4), Transform(size=16, train=True), short_side=20)
    torch.manual_seed(1)
    first = dataset[0, 11].x
    torch.rand(3)
    assert torch.equal(dataset[0, 11].x, first)
    assert len({dataset[0, seed].x.sum().item() for seed in range(5)}) == 5
    fixed = Transform(size=20, train=True, flip=0.0, scale=(1.0, 1.0))
    dataset = samples_of(clips, RandomInSegment(3), fixed, short_side=20)
    assert len({dataset[0, seed].x.sum().item() for seed in range(5)}) > 1, "the seed draws the frames too"


class Watched:
    """A sampler and a transform in one: what each of them would draw with what it is given."""

    train, frames = True, 4

    def __init__(self):
        self.sampled, self.augmented = [], []

    def __call__(self, n, generator=None):
        self.sampled.append(torch.rand(8, generator=generator).tolist())
        return range(self.frames)

    def draw(self, frames, seed):
        self.augmented.append(torch.rand(8, generator=torch.Generator().manual_seed(seed)).tolist())
        return frames, False


@pytest.mark.parametrize("way", ["alone", "views", "frame cache"])
def test_frames_and_augmentation_are_drawn_from_two_streams(way, clips, tmp_path):
    watched = Watched()
    samples = samples_of(clips, watched, watched, frame_cache=tmp_path if way == "frame cache" else None)
    for seed in (3, 2**62):
        samples.views(0, [seed, seed]) if way == "views" else samples[0, seed]
    assert not {each for draws in watched.sampled for each in draws} & {
        each for draws in watched.augmented for each in draws
    }


def test_the_number_of_frames_drawn_does_not_change_the_augmentation(clips):
    """The first frame is always the same one: with more frames after it, it must be cropped and flipped as before."""

    def first(frames):
        def sampler(n, generator=None):
            torch.rand(frames, generator=generator)
            return [0] * frames

        return samples_of(
            clips, sampler, Transform(size=16, train=True, randaugment=2, color_jitter=0.5), short_side=20
        )

    for seed in range(4):
        few, many = first(2)[0, seed], first(7)[0, seed]
        assert torch.equal(few.x[:, 0], many.x[:, 0])
        assert few.flipped == many.flipped


def test_what_a_seed_draws_stays_what_it_is(clips):
    """A run resumed with a later version sees the same clips."""
    drawn = []

    def sampler(n, generator=None):
        drawn.append(RandomInSegment(6)(30, generator))
        return [0]

    ramp = torch.arange(200, dtype=torch.uint8).expand(1, 200, 200)[..., None].expand(-1, -1, -1, 3)
    transform = Transform(size=50, train=True)
    places, flips = [], []
    for epoch in range(4):
        seed = seed_of(42, epoch, 7)
        samples_of(clips, sampler, transform, short_side=20)[0, seed]
        cropped, flipped = transform.draw(ramp, seed)
        # The first and the last column that the crop shows.
        places.append(((cropped[0, 0, 0, [0, -1]] * 0.225 + 0.45) * 255).round().int().tolist())
        flips.append(flipped)
    assert drawn == [[3, 6, 10, 17, 21, 28], [2, 7, 13, 17, 22, 25], [2, 5, 10, 18, 23, 26], [4, 9, 12, 18, 20, 25]]
    assert places == [[192, 13], [11, 194], [8, 181], [30, 190]]
    assert flips == [True, False, False, False]


def _same(one, other):
    if isinstance(one, BadClip) or isinstance(other, BadClip):
        return one == other
    return torch.equal(one.x, other.x) and all(
        getattr(one, key) == getattr(other, key) for key in ("label", "index", "flipped")
    )


def _pair(clips, frame_cache=None):
    """The same clips as training and as evaluation show them; a flip swaps the first two classes."""
    source = VideoSource(
        4,
        temporal_jitter=1.0,
        temporal_scale=(0.5, 1.0),
        size=16,
        randaugment=1,
        short_side=20,
        frame_cache=frame_cache,
    )
    return ClipDataset(clips, source, True, flipped_labels=(1, 0, 2)), ClipDataset(clips, source)


@pytest.mark.parametrize("stored", [False, True], ids=["decoded", "stored"])
def test_views_of_a_clip_are_the_single_items(stored, clips, tmp_path):
    training, evaluation = _pair(clips, tmp_path if stored else None)
    for index in range(len(clips)):
        seeds = [5, 2, 5, 9, 11]
        views = training.views(index, seeds, evaluation=True)
        alone = [*(training[index, seed] for seed in seeds), evaluation[index, 0]]
        assert len(views) == len(alone)
        assert all(map(_same, views, alone))
    assert len({training[0, seed].label for seed in range(8)}) == 2


def test_views_of_a_clip_share_one_decode(clips, monkeypatch):
    opened, open_one = [], container.Container.__enter__
    monkeypatch.setattr(container.Container, "__enter__", lambda self: opened.append(self) or open_one(self))
    training, _ = _pair(clips)
    assert len(training.views(0, [1, 2, 3], evaluation=True)) == 4
    assert len(opened) == 1
    with pytest.raises(ValueError, match="no seed given"):
        training.views(0, [])


def test_a_view_that_cannot_be_read_takes_no_other_with_it(damaged_late):
    row = ClipList((Clip(str(damaged_late), 0, "a"),), ("a",), "")
    sampler = RandomInSegment(1)
    training = samples_of(row, sampler, Transform(size=16, train=True))
    seeds = range(24)
    views = training.views(0, seeds)
    assert {type(view) for view in views} == {Sample, BadClip}
    assert all(_same(view, training[0, seed]) for view, seed in zip(views, seeds, strict=True))


def test_views_of_a_miscounted_clip_are_the_single_items(miscounted):
    """A sampler is called twice, and draws again, where the decoder returns fewer frames than the packets announce."""
    training, evaluation = _pair(ClipList((Clip(str(miscounted), 0, "a"),), ("a", "b", "c"), ""))
    views = training.views(0, [1, 2, 3], evaluation=True)
    assert all(isinstance(view, Sample) for view in views)
    assert all(map(_same, views, [*(training[0, seed] for seed in (1, 2, 3)), evaluation[0, 0]]))


def test_views_are_drawn_as_often_as_they_would_be_alone(clips, monkeypatch):
    """One view may reach a place where the frames have to be counted anew, and the others alone never get there."""
    pictures = torch.arange(30, dtype=torch.uint8).view(30, 1, 1, 1).expand(30, 24, 24, 3)

    def read(path, samples, *_, **__):
        views = [sample(30) for sample in samples]
        views = [sample(29) for sample in samples] if max(map(max, views)) > 24 else views
        return [pictures[view] for view in views]

    monkeypatch.setattr(source, "read_views", read)
    samples = samples_of(clips, RandomInSegment(1), Transform(size=16, train=True))
    alone = [samples[0, seed] for seed in range(9)]
    assert all(map(_same, samples.views(0, range(9)), alone))


def test_evaluation_ignores_the_seed(clips):
    dataset = samples_of(clips, RandomInSegment(4), Transform(size=16), short_side=20)
    assert torch.equal(dataset[0, 1].x, dataset[0, 2].x)


def test_a_file_that_is_no_video_is_a_bad_clip_with_a_reason(clips):
    bad = samples_of(clips, Uniform(4), Transform(size=16))[2, 0]
    assert isinstance(bad, BadClip)
    assert (bad.name, bad.path) == ("2.mp4", clips[2].path)
    assert bad.reason
    assert bad.path not in bad.reason
    late = samples_of(clips, Uniform(4), Transform(size=16), decode_timeout=1e-6)[0, 0]
    assert isinstance(late, BadClip)
    assert "given up after 1e-06 s" in late.reason


def test_a_clip_cut_out_of_an_original_counts_in_its_seconds(clips):
    whole = clips[0]
    cut = Clip(whole.path, 0, "cut", start=10.0 + 2 / 25, stop=10.0 + 6 / 25, origin=10.0)
    same = Clip(whole.path, 0, "same", start=2 / 25, stop=6 / 25)
    dataset = samples_of(ClipList((cut, same), ("a",), ""), Uniform(4), Transform(size=16))
    assert torch.equal(dataset[0, 0].x, dataset[1, 0].x)


def test_a_batch_leaves_bad_clips_out_and_names_them(clips):
    dataset = samples_of(clips, Uniform(4), Transform(size=(16, 12)), short_side=20)
    batch = collate([dataset[index, 0] for index in (1, 2, 0)], SPEC)
    assert batch.x.shape == (2, 3, 4, 16, 12)
    assert batch.label.tolist() == [1, 0]
    assert batch.index.tolist() == [1, 0]
    ((name, path, reason),) = batch.skipped
    assert (name, path, type(reason)) == ("2.mp4", clips[2].path, str)
    empty = collate([BadClip("a", "b/a", "broken")], SPEC)
    assert (empty.x.shape[:2], empty.label.shape, empty.index.shape) == ((0, 3), (0,), (0,))
    assert empty.label.dtype == torch.long
    assert empty.skipped == [("a", "b/a", "broken")]


def test_a_single_clip_is_loaded_as_evaluation_sees_it(clips):
    expected = samples_of(clips, Uniform(4), Transform(size=(16, 12)), short_side=20)[1, 0].x
    assert torch.equal(load_clip(clips[1].path, PREPROCESS), expected)
    with pytest.raises(VideoError):
        load_clip(clips[2].path, PREPROCESS)


def test_a_single_clip_with_dense_sampling_and_a_cut(clips):
    dense = PREPROCESS | {"sampling": "dense", "stride": 2, "grayscale": True}
    whole = load_clip(clips[0].path, dense)
    cut = load_clip(clips[0].path, dense, start=0.3, stop=0.6)
    assert whole.shape == cut.shape == (3, 4, 16, 12)
    assert torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, cut)
