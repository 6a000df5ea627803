"""A fold chooses among clips that are there already, such as stored tokens."""

from dataclasses import dataclass

import pytest

from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.fold_clips import select
from taggnn.data.lists.splits import Splits


@dataclass(frozen=True)
class Stored(Clip):
    views: tuple = ()


def splits(train, test):
    lists = [ClipList(tuple(clips), ("go", "stop"), "list") for clips in (train, train[:0], test)]
    return Splits(*lists, ("go", "stop"), ("a note",))


@pytest.fixture
def fold(tmp_path):
    for part, rows in {
        "train": "c.mp4,go,0,x\nd.mp4,stop,1,x\n",
        "val": "b.mp4,go,0,y\n",
        "test": "a.mp4,go,0,z\n",
    }.items():
        (tmp_path / f"{part}.csv").write_text(f"path,class,label,group\n{rows}")
    return tmp_path


def stored(**views):
    return [Stored(f"/v/{name}.mp4", int(name == "d"), f"{name}.mp4", views=views.get(name, ())) for name in "abcde"]


def test_parts_are_chosen_by_name_whatever_split_they_were_in(fold):
    clips = stored()
    found = select(splits(clips[:3], clips[3:]), fold, "tokens")
    assert [[clip.name for clip in part] for part in (found.train, found.val, found.test)] == [
        ["c.mp4", "d.mp4"],
        ["b.mp4"],
        ["a.mp4"],
    ]
    assert "e.mp4" in found.notes[-1]
    assert found.train.clips[0] is clips[2]


def test_a_clip_that_is_not_there_or_of_another_class_is_named(fold):
    clips = stored()
    with pytest.raises(ValueError, match=r"train\.csv, line 3.*d\.mp4"):
        select(splits(clips[:3], clips[4:]), fold, "tokens")
    wrong = [*clips[:2], Stored("/v/c.mp4", 1, "c.mp4"), *clips[3:]]
    with pytest.raises(ValueError, match=r"line 2.*'?stop"):
        select(splits(wrong, []), fold, "tokens")
    (fold / "val.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.csv"):
        select(splits(clips, []), fold, "tokens")


def test_stored_training_views_of_some_clips_alone_are_refused(fold):
    with pytest.raises(ValueError, match="--views 0"):
        select(splits(stored(c=(("shard", 0),)), []), fold, "tokens")
