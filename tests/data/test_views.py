"""Several views of a clip for evaluation, against a plain decode of everything."""

import pytest
import torch

from taggnn.data.clips import Clip, ClipList
from taggnn.data.dataset import ClipDataset
from taggnn.data.frame_sampling import Dense, RandomInSegment, Uniform
from taggnn.data.video import container
from taggnn.data.video.reading import VideoError, read_frames
from taggnn.data.video.source import VideoSource
from taggnn.data.video.transforms import Transform
from taggnn.data.views import EvaluationViews, all_views, clip_views, collate_evaluation_views, view_batches
from taggnn.types import BadClip

SIZE = (16, 12)
PREPROCESS = {
    "frames": 4,
    "sampling": "dense",
    "stride": 2,
    "short_side": 20,
    "size": list(SIZE),
    "mean": 0.4,
    "std": 0.2,
}
TRANSFORM = Transform(size=SIZE, mean=0.4, std=0.2)
SAMPLERS = [Uniform(4), RandomInSegment(4), Dense(4, 2)]


def samples_of(clips, sampler, transform, short_side=None, frame_cache=None):
    source = VideoSource(sampler.frames, size=list(SIZE), short_side=short_side, frame_cache=frame_cache)
    source.sampler, source.transform = sampler, transform
    return ClipDataset(clips, source)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, write_video):
    """A wide clip, a high one, one of a single frame, and one file that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "0.mp4", frames=13)
    write_video(folder / "1.mp4", frames=9, height=64, width=48)
    write_video(folder / "2.mp4", frames=1)
    (folder / "3.mp4").write_text("no video")
    rows = tuple(Clip(str(folder / f"{number}.mp4"), number % 3, f"{number}.mp4") for number in range(4))
    return ClipList(rows, ("a", "b", "c"), str(folder))


def naive(path, sampler, views, crops):
    """Everything decoded, sliced, cut and normalised by hand."""
    pictures = read_frames(path, range, 20).permute(0, 3, 1, 2)
    found = []
    for number in range(views):
        chosen = pictures[sampler.view(len(pictures), number, views)]
        if crops == 1:
            found.append(chosen[..., _middle(chosen.shape[2], SIZE[0]), :][..., _middle(chosen.shape[3], SIZE[1])])
            continue
        for crop in range(crops):
            top, left = _middle(chosen.shape[2], SIZE[0]).start, _middle(chosen.shape[3], SIZE[1]).start
            if chosen.shape[2] * SIZE[1] > chosen.shape[3] * SIZE[0]:
                top = round((chosen.shape[2] - SIZE[0]) * crop / (crops - 1))
            else:
                left = round((chosen.shape[3] - SIZE[1]) * crop / (crops - 1))
            found.append(chosen[..., top : top + SIZE[0], left : left + SIZE[1]])
    return ((torch.stack(found).float() / 255 - 0.4) / 0.2).transpose(1, 2)


def _middle(length, wanted):
    first = round((length - wanted) / 2)
    return slice(first, first + wanted)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize(("views", "crops"), [(1, 1), (3, 1), (1, 3), (5, 2)])
@pytest.mark.parametrize("index", [0, 1, 2], ids=["wide", "high", "one-frame"])
def test_views_are_what_a_plain_decode_gives(sampler, views, crops, index, clips):
    seen = EvaluationViews(samples_of(clips, sampler, TRANSFORM, 20), views, crops)
    item = seen[index, all_views(views, crops)]
    assert len(item) == views * crops
    assert {each.x.shape for each in item} == {(3, 4, *SIZE)}
    torch.testing.assert_close(torch.stack([each.x for each in item]), naive(clips[index].path, sampler, views, crops))
    assert {(each.label, each.index) for each in item} == {(clips[index].label, index)}


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_one_view_is_the_item_of_evaluation(sampler, clips):
    samples = samples_of(clips, sampler, TRANSFORM, 20)
    for index in range(3):
        assert torch.equal(EvaluationViews(samples)[index, ((0, 0),)][0].x, samples[index, 0].x)
    assert EvaluationViews(samples)[3, ((0, 0),)] == samples[3, 0]


@pytest.mark.parametrize("stored", [False, True], ids=["decoded", "stored"])
def test_a_view_does_not_depend_on_the_others(stored, clips, tmp_path):
    def seen(size):
        cache = tmp_path if stored else None
        data = EvaluationViews(samples_of(clips, Dense(3), TRANSFORM, 20, frame_cache=cache), 4, 2)
        rows = {}
        for group in view_batches(3, 4, 2, size):
            for keys in group:
                batch = collate_evaluation_views([data[key] for key in keys], data.samples.source.spec)
                for index, clip in zip(batch.index.tolist(), batch.x, strict=True):
                    rows.setdefault(index, []).append(clip)
        return {index: torch.stack(clips) for index, clips in rows.items()}

    together = seen(100)
    assert [len(rows) for rows in together.values()] == [8, 8, 8]
    for size in (1, 3, 8):
        found = seen(size)
        assert all(torch.equal(found[index], together[index]) for index in range(3))


def test_views_of_a_clip_share_one_decode(clips, monkeypatch):
    opened, open_one = [], container.Container.__enter__
    monkeypatch.setattr(container.Container, "__enter__", lambda self: opened.append(self) or open_one(self))
    EvaluationViews(samples_of(clips, Dense(3), TRANSFORM, 20), 3, 3)[0, all_views(3, 3)]
    assert len(opened) == 1


def test_a_clip_is_bad_where_one_of_its_views_is(damaged_late):
    path = damaged_late
    row = ClipList((Clip(str(path), 0, "a"),), ("a",), "")
    seen = EvaluationViews(samples_of(row, Dense(2), TRANSFORM, 20), 3)
    assert isinstance(seen[0, ((0, 0),)], list)
    assert isinstance(seen[0, ((2, 0),)], BadClip)
    assert isinstance(seen[0, all_views(3, 1)], BadClip)
    batch = collate_evaluation_views([seen[0, all_views(3, 1)]], seen.samples.source.spec)
    assert len(batch) == len(batch.x) == 0
    assert [name for name, _, _ in batch.skipped] == ["a"]


def test_a_miscounted_clip_has_the_same_views_alone_and_together(miscounted):
    """The decoder gives fewer frames than the packets promise, which only a view of the end finds out."""
    seen = EvaluationViews(
        samples_of(ClipList((Clip(str(miscounted), 0, "a"),), ("a",), ""), Uniform(2), TRANSFORM, 20), 4
    )
    together = [each.x for each in seen[0, all_views(4, 1)]]
    for place, view in enumerate(all_views(4, 1)):
        assert torch.equal(seen[0, (view,)][0].x, together[place])


@pytest.mark.parametrize("clips", [0, 1, 7])
@pytest.mark.parametrize("views", [1, 2, 4])
@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_batches_hold_every_view_once_and_never_too_many(clips, views, crops, size):
    groups = view_batches(clips, views, crops, size)
    found = []
    for group in groups:
        inside = {index for keys in group for index, _ in keys}
        assert all(len(seen) == views * crops for seen in _views_of(group).values())
        for keys in group:
            assert 1 <= sum(len(parts) for _, parts in keys) <= size
            found += [(index, view) for index, parts in keys for view in parts]
        # All of a clip lies in one group.
        assert not inside & {index for other in groups if other is not group for keys in other for index, _ in keys}
    assert found == [(index, view) for index in range(clips) for view in all_views(views, crops)]


def _views_of(group):
    views = {}
    for keys in group:
        for index, parts in keys:
            views.setdefault(index, []).extend(parts)
    return views


def test_a_choice_of_frames_is_not_decoded_twice_where_its_crops_fit():
    (group,) = view_batches(1, 3, 3, 8)
    assert [[view for view, _ in parts] for ((_, parts),) in group] == [[0, 0, 0, 1, 1, 1], [2, 2, 2]]
    assert len(view_batches(4, 3, 3, 9)) == 4
    assert len(view_batches(4, 3, 3, 18)) == 2


@pytest.mark.parametrize(("views", "crops", "max_views"), [(1, 1, 8), (3, 3, 4), (3, 3, 1), (3, 3, 100), (2, 4, 3)])
def test_views_of_a_file_come_in_pieces(views, crops, max_views, clips):
    pieces = list(clip_views(clips[0].path, VideoSource(**PREPROCESS), views, crops, max_views))
    assert max(map(len, pieces)) <= max_views
    torch.testing.assert_close(torch.cat(pieces), naive(clips[0].path, Dense(4, 2), views, crops))
    if views == crops == 1:
        assert torch.equal(pieces[0][0], VideoSource(**PREPROCESS)(clips[0], None).x)


def test_views_of_a_file_are_made_as_they_are_asked_for(clips, monkeypatch):
    opened, open_one = [], container.Container.__enter__
    monkeypatch.setattr(container.Container, "__enter__", lambda self: opened.append(self) or open_one(self))
    pieces = clip_views(clips[0].path, VideoSource(**PREPROCESS), 1000, max_views=2, start=0.2, stop=1.0)
    assert opened == []
    next(pieces)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "views must be 1 or more, not 0"),
        ({"crops": 0}, "crops must be 1 or more, not 0"),
        ({"max_views": 0}, "max_views 0: must be 1 or more"),
        ({"crops": 3, "stretch": True}, "crops 3: the model sees whole frames, stretched"),
    ],
)
def test_impossible_views_of_a_file_are_refused_at_once(options, message, clips):
    preprocess = PREPROCESS | {"stretch": options.pop("stretch", False)}
    with pytest.raises(ValueError, match=message):
        clip_views(clips[0].path, VideoSource(**preprocess), **options)
    with pytest.raises(VideoError, match="not a video"):
        next(clip_views(clips[3].path, VideoSource(**PREPROCESS), 3))
