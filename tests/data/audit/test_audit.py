"""What is wrong with clips, from info alone: no video is needed."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggnn.data.audit.audit import KINDS, RANK, audit, cuts_of
from taggnn.data.audit.facts import cut_key
from taggnn.data.audit.probe import VideoInfo
from taggnn.data.clips import Clip, ClipList
from taggnn.data.problems import Problem

CLASSES = ("jump", "run")
SOUND = VideoInfo(frames=100, seconds=10.0, fingerprint="f", size=1, width=8, height=8, codec="h264")


def listed(*clips, source="list"):
    return ClipList(tuple(clips), CLASSES, source)


def clip(name, label=0, start=None, stop=None, origin=None, folder="videos"):
    return Clip(f"{folder}/{name}", label, name, start, stop, origin)


def info_of(splits, known=None):
    """VideoInfo of every file: its own content, 10 pictures a second, but for those given."""
    found = {}
    for path, cuts in cuts_of(clip for clips in splits.values() for clip in clips).items():
        info = (known or {}).get(path.rsplit("/", 1)[1], replace(SOUND, fingerprint=path))
        counted = {}
        for start, stop, origin in cuts:
            begin = origin or 0.0
            first, last = (start or begin) - begin, info.seconds if stop is None else stop - begin
            shown = max(0, math.ceil(10 * min(last, info.seconds)) - math.ceil(10 * max(first, 0)))
            counted[cut_key(start, stop, origin)] = (shown, begin)
        found[path] = replace(info, cuts=counted)
    return found


def judged(splits, known=None, frames=4):
    return audit(splits, info_of(splits, known), [], frames)


def findings_of(found):
    return [(one.kind, one.split, one.name) for one in found.findings]


def test_sound_clips_are_kept():
    splits = {"train": listed(clip("a"), clip("b", 1)), "val": listed(clip("c"))}
    found = judged(splits)
    assert findings_of(found) == []
    assert found.kept == splits
    assert found.wrong == 0
    assert found.frames == {"train": [100, 100], "val": [100]}


@pytest.mark.parametrize(
    ("cut", "info", "kind"),
    [
        ((None, None), {"kind": "missing", "trouble": "gone"}, "missing"),
        ((None, None), {"kind": "unreadable", "trouble": "no"}, "unreadable"),
        ((None, None), {"damage": "truncated", "sound_until": 9.0}, "unreadable"),
        ((8.0, 9.5), {"damage": "truncated", "sound_until": 9.0}, "unreadable"),
        ((8.0, None), {"damage": "truncated", "sound_until": 10.0}, "unreadable"),
        ((8.0, 9.0), {"damage": "truncated", "sound_until": 9.0}, "damaged"),
        ((8.0, 8.9), {"damage": "truncated", "sound_until": 9.0}, "damaged"),
        ((8.0, 9.0), {"corrupt": [8.5]}, "unreadable"),
        ((8.0, 8.5), {"corrupt": [8.5]}, "damaged"),
        ((12.0, 13.0), {}, "cut outside"),
        ((9.0, 10.5), {}, "cut beyond"),
        ((9.0, 10.05), {}, None),
        ((None, None), {"frames": 3}, "short"),
        ((None, None), {"frames": 4}, None),
        ((None, None), {"frames": 1}, "one frame"),
    ],
)
def test_a_clip_by_itself(cut, info, kind):
    found = judged({"train": listed(clip("a", 0, *cut))}, {"a": replace(SOUND, **info)})
    assert [one.kind for one in found.findings] == ([kind] if kind else [])
    assert len(found.kept["train"]) == (0 if kind and KINDS[kind].left_out else 1)
    assert found.wrong == (1 if kind and KINDS[kind].wrong else 0)


def test_a_cut_out_of_a_file_that_is_a_cut_itself_counts_from_its_origin():
    one = clip("a", 0, 101.5, 103.0, origin=100.0)
    assert judged({"train": listed(one)}).frames == {"train": [15]}
    outside = clip("a", 0, 111.0, 112.0, origin=100.0)
    assert "the cut from 11 to 12 s of the file" in judged({"train": listed(outside)}).findings[0].message
    damaged = replace(SOUND, damage="truncated", sound_until=2.0)
    assert findings_of(judged({"train": listed(one)}, {"a": damaged})) == [("unreadable", "train", "a")]
    earlier = clip("a", 0, 101.5, 102.0, origin=100.0)
    assert findings_of(judged({"train": listed(earlier)}, {"a": damaged})) == [("damaged", "train", "a")]


def test_a_row_that_another_contradicts_is_left_out_by_the_name_of_its_clip():
    clips = {"train": listed(replace(clip("a", 0, 1.0, 2.0), name="mine"), clip("a", 0, 3.0, 4.0))}
    problem = Problem("mislabelled", "list", 3, "videos/a", "is listed before", "mine")
    found = audit(clips, info_of(clips), [problem], 4)
    assert findings_of(found) == [("mislabelled", "train", "videos/a"), ("mislabelled", "train", "mine")]
    assert [one.start for one in found.kept["train"]] == [3.0]


def test_equal_videos_of_one_split_are_kept_once():
    same = dict.fromkeys("abc", SOUND)
    found = judged({"train": listed(clip("a"), clip("b"), clip("c"), clip("d"))}, same)
    assert findings_of(found) == [("duplicate", "train", "b"), ("duplicate", "train", "c")]
    assert [one.name for one in found.kept["train"]] == ["a", "d"]


def test_equal_videos_under_two_labels_are_left_out():
    found = judged({"train": listed(clip("a"), clip("b", 1), clip("c", 1))}, {"a": SOUND, "b": SOUND})
    assert findings_of(found) == [("mislabelled", "train", "a"), ("mislabelled", "train", "b")]
    assert found.findings[0].message == "the same video as b (train, run)"
    assert [one.name for one in found.kept["train"]] == ["c"]


@pytest.mark.parametrize(("keeps", "loses"), [("test", "val"), ("test", "train"), ("val", "train")])
def test_of_two_splits_the_one_that_measures_keeps_the_clip(keeps, loses):
    splits = {loses: listed(clip("a"), clip("b")), keeps: listed(clip("c"))}
    found = judged(splits, {"b": SOUND, "c": SOUND})
    assert findings_of(found) == [("two splits", loses, "b")]
    assert found.findings[0].message == f"the same video as c ({keeps}, jump)"
    assert [len(clips) for clips in found.kept.values()] == [1, 1]


@pytest.mark.parametrize(
    ("first", "second", "leak"),
    [((0.0, 2.0), (1.0, 3.0), True), ((0.0, 2.0), (1.9, 4.0), False), ((0.0, 2.0), (2.0, 4.0), False),
     ((None, None), (1.0, 3.0), True), ((1.0, None), (0.0, 0.5), False)],
)  # fmt: skip
def test_cuts_of_one_video_in_two_splits_may_touch_but_not_overlap(first, second, leak):
    for one, other in ((first, second), (second, first)):
        splits = {"train": listed(clip("a", 0, *one)), "val": listed(clip("a", 0, *other))}
        assert findings_of(judged(splits)) == ([("two splits", "train", "a")] if leak else [])


def test_cuts_that_overlap_in_one_split_are_no_problem_and_nearly_equal_ones_under_two_labels_are():
    over = judged({"train": listed(clip("a", 0, 0.0, 3.0), clip("a", 1, 2.0, 4.0))})
    assert findings_of(over) == []
    near = judged({"train": listed(clip("a", 0, 0.0, 3.0), clip("a", 1, 0.1, 3.0))})
    assert [kind for kind, *_ in findings_of(near)] == ["mislabelled"] * 2


def test_a_folder_of_another_class_contradicts_the_label():
    clips = [clip("a", 0, folder="jump"), clip("b", 1, folder="run"), clip("c", 1, folder="jump")]
    found = judged({"train": listed(*clips)})
    assert findings_of(found) == [("mislabelled", "train", "c")]


def test_folders_without_the_names_of_classes_are_classes_by_what_most_of_them_hold():
    clips = [clip(f"{n}", n % 2, folder=("hop", "sprint")[n % 2]) for n in range(40)] + [clip("odd", 1, folder="hop")]
    found = judged({"train": listed(*clips)})
    assert findings_of(found) == [("mislabelled", "train", "odd")]
    # The same rule holds for numbers.
    numbered = ClipList(
        tuple(replace(one, path=one.path.replace("hop", "0").replace("sprint", "1")) for one in clips),
        ("0", "1"),
        "list",
    )
    assert findings_of(judged({"train": numbered})) == [("mislabelled", "train", "odd")]
    # Folders of speakers, or one folder for all: nothing can be concluded.
    mixed = [clip(f"{n}", n // 2 % 2, folder=("hop", "sprint")[n % 2]) for n in range(40)]
    assert findings_of(judged({"train": listed(*mixed)})) == []
    one = [clip(f"{n}", int(n == 0)) for n in range(40)]
    assert findings_of(judged({"train": listed(*one)})) == []


def test_folders_named_by_numbers_are_no_classes():
    clips = tuple(clip(f"{n}", n % 2, folder=f"disk/{n % 3}") for n in range(12))
    for classes in (("0", "1"), ("jump", "1")):
        assert findings_of(judged({"train": ClipList(clips, classes, "list")})) == []


def test_coverage_counts_every_step():
    clips = replace(listed(clip("a"), clip("b"), clip("c"), clip("d", 1)), missing=("e",), missing_labels=(1,))
    bad = {"b": replace(SOUND, kind="unreadable", trouble="no"), "a": SOUND, "c": SOUND}
    rows = judged({"train": clips}, bad).coverage
    assert [(row.name, row.listed, row.found, row.readable, row.kept) for row in rows] == [
        ("jump", 3, 3, 2, 1),
        ("run", 2, 1, 1, 1),
    ]


def test_many_copies_take_no_long_time():
    clips = [clip(f"{n}", 0) for n in range(20_000)]
    found = judged({"train": listed(*clips)}, {one.name: SOUND for one in clips})
    assert len(found.findings) == 19_999


CLIPS = st.lists(
    st.tuples(
        st.sampled_from(list(RANK)), st.sampled_from("abc"), st.integers(0, 1), st.integers(0, 30), st.integers(1, 10)
    ),
    min_size=1,
    max_size=12,
    unique=True,
)


@given(CLIPS, st.sampled_from(["abc", "aab", "aaa"]))
def test_the_kept_clips_are_clean(rows, contents):
    """Whatever the lists: the kept clips, audited again, have nothing to leave out, and no two splits share a clip."""
    known = dict(
        zip("abc", (replace(SOUND, seconds=4.0, frames=40, fingerprint=content) for content in contents), strict=True)
    )
    of = {split: [] for split in RANK}
    for number, (split, file, label, start, length) in enumerate(rows):
        one = clip(file, label, start / 10, (start + length) / 10)
        of[split].append(replace(one, name=f"{file}{number}"))
    splits = {split: listed(*clips) for split, clips in of.items()}
    first = judged(splits, known)
    again = judged(first.kept, known)
    assert not [one for one in again.findings if KINDS[one.kind].left_out]
    assert again.kept == first.kept
    assert set(first.kept["test"]) <= set(splits["test"])
    alone = {split: set(clips) for split, clips in splits.items()}
    for finding in first.findings:
        assert finding.name in {one.name for one in alone[finding.split]}
    # Nothing vanishes without a word.
    left_out = {one.name for one in first.findings if KINDS[one.kind].left_out}
    for split in RANK:
        assert {one.name for one in splits[split]} - {one.name for one in first.kept[split]} <= left_out
