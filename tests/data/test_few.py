"""The clips of a smoke run."""

from collections import Counter

import pytest

from taggnn.data.clips import Clip, ClipList
from taggnn.data.few import FEW, few
from taggnn.data.lists.splits import Splits

CLASSES = ("a", "b", "c")


def clips(*labels):
    rows = tuple(Clip(f"{number}.mp4", label, str(number)) for number, label in enumerate(labels))
    return ClipList(rows, CLASSES, "list", missing=("x",), missing_labels=(0,))


def test_every_class_has_its_turn_and_the_order_stays():
    splits = Splits(clips(*[0] * 50, *[1] * 50, 2), clips(0, 1, 2), clips(0, 1, 2), CLASSES, ("note",))
    found = few(splits)
    assert Counter(clip.label for clip in found.train) == {0: 8, 1: 7, 2: 1}
    assert [clip.name for clip in found.train] == sorted((clip.name for clip in found.train), key=int)
    assert (found.train.listed, found.val.clips, found.notes) == (FEW["train"], splits.val.clips, ("note",))


def test_a_split_that_is_also_another_one_stays_so():
    test = clips(*[0, 1] * 20)
    found = few(Splits(clips(0), test, test, CLASSES, ()))
    assert found.val is found.test
    assert len(found.test) == FEW["val"]


@pytest.mark.parametrize("count", [1, FEW["train"], FEW["train"] + 1])
def test_no_more_than_there_are(count):
    assert len(few(Splits(clips(*[0] * count), None, None, CLASSES, ())).train) == min(count, FEW["train"])
