"""Clips in two splits, where one file holds many."""

import pytest

from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.leakage import leaked_clips


def clips(*rows):
    return ClipList(tuple(Clip("set.pkl", 0, f"{row}", *row[1:], member=row[0]) for row in rows), ("run",), "list")


@pytest.mark.parametrize(
    ("train", "test", "leaks"),
    [
        (("a",), ("b",), 0),
        (("a",), ("a",), 1),
        (("a", 0, 10), ("a", 10, 20), 0),
        (("a", 0, 10), ("a", 5, 20), 1),
        (("a", 0, 10), ("b", 5, 20), 0),
    ],
    ids=["other-member", "same-member", "neighbours", "overlap", "overlap-of-two-members"],
)
def test_members_are_clips_of_their_own(train, test, leaks):
    assert len(leaked_clips({"train": clips(train), "test": clips(test)})) == leaks
