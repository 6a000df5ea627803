"""Fingerprints of clip lists: equal for equal lists, and the changes counted."""

from dataclasses import replace

import pytest

from taggnn.data.clips import Clip, ClipList
from taggnn.data.fingerprint import describe_changes, fingerprint

CLIPS = tuple(Clip(f"/videos/{n}.mp4", n % 3, f"{n}.mp4", n / 2, n / 2 + 1, 0.5) for n in range(6))


def listed(*clips):
    return fingerprint(ClipList(clips, ("a", "b", "c"), "list"))


def test_the_same_list_elsewhere_has_the_same_fingerprint():
    moved = [replace(clip, path=f"/elsewhere/{clip.name}") for clip in CLIPS]
    assert describe_changes(listed(*CLIPS), listed(*moved)) is None


@pytest.mark.parametrize(
    "change",
    [{"label": 2}, {"name": "é\udcff"}, {"start": 0.25}, {"stop": 9.0}, {"origin": None}, {"member": "x"}],
    ids=str,
)
def test_a_changed_clip_is_removed_and_added(change):
    assert describe_changes(listed(*CLIPS), listed(replace(CLIPS[0], **change), *CLIPS[1:])) == "1 added and 1 removed"


def test_added_and_removed_clips_are_counted_and_a_new_order_is_reported():
    assert describe_changes(listed(*CLIPS), listed(*CLIPS[2:])) == "0 added and 2 removed"
    assert describe_changes(listed(*CLIPS[:3]), listed(*CLIPS)) == "3 added and 0 removed"
    assert describe_changes(listed(*CLIPS), listed(*CLIPS[::-1])) == "the order differs"
