"""Folds by group: no group in two parts, each tested once, the same on every machine; read back as lists of clips."""

from collections import Counter

import pytest

from taggnn.data.lists.fold_clips import groups_of, read_fold
from taggnn.data.lists.folds import deal, read_rows, write_fold
from taggnn.data.lists.reading import read_clips

SPEAKERS = ("ann", "bob", "cat", "dan", "eve", "fay")


@pytest.fixture
def listed(tmp_path):
    """Six speakers of different numbers of clips; eve has no clip of "stop"."""
    lines = ["path,class,label,speaker"]
    for number, speaker in enumerate(SPEAKERS):
        for index in range(4 + number):
            word = "go" if index % 2 or speaker == "eve" else "stop"
            lines.append(f"{word}/{speaker}_{index}.mp4,{word},{0 if word == 'go' else 1},{speaker}")
    path = tmp_path / "all.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_each_group_is_tested_once_and_is_in_one_part(listed):
    rows = read_rows([listed], "speaker")
    folds = deal(rows, 3)
    assert sorted(group for fold in folds for group in fold.groups("test")) == sorted(SPEAKERS)
    for fold in folds:
        every = [group for part in fold.parts for group in fold.groups(part)]
        assert sorted(every) == sorted(SPEAKERS)
        assert Counter(row.clip for part in fold.parts.values() for row in part) == Counter(row.clip for row in rows)
        assert len(fold.groups("val")) == 1
    assert {len(fold.groups("test")) for fold in folds} == {2}
    assert folds == deal(read_rows([listed], "speaker"), 3)
    assert len({tuple(fold.groups("val")) for fold in folds}) > 1


def test_a_class_that_a_part_lacks_is_found(listed):
    folds = deal(read_rows([listed], "speaker"), 6, val_groups=2)
    alone = next(fold for fold in folds if fold.groups("test") == ["eve"])
    assert (alone.missing("test"), alone.missing("train")) == (["stop"], [])
    assert len(alone.groups("val")) == 2


def test_the_group_may_be_a_part_of_the_path(listed):
    by_column, by_path = (read_rows([listed], *how) for how in (("speaker",), (None, "/([a-z]+)_")))
    assert [row.group for row in by_column] == [row.group for row in by_path]


def test_lists_of_a_fold_are_lists_of_clips(listed, tmp_path):
    fold = deal(read_rows([listed], "speaker"), 3)[1]
    write_fold(tmp_path / "fold-1", fold)
    for row in read_rows([listed], "speaker"):
        path = tmp_path / "videos" / row.clip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    clips = read_clips(tmp_path / "videos", tmp_path / "fold-1" / "test.csv")
    assert {clip.name for clip in clips} == {row.clip for row in fold.parts["test"]}
    assert groups_of(tmp_path / "fold-1") == {row.clip: row.group for row in fold.parts["test"]}
    assert len(read_fold(tmp_path / "fold-1")["train"]) == len(fold.parts["train"])


def test_the_authors_lists_have_a_name_for_each_path_that_a_clip_may_have(tmp_path):
    source = tmp_path / "all.csv"
    rows = [f"{who}{index}.mp4,walk{index},{index}" for who in "abc" for index in range(2)]
    source.write_text("FileName,Class,ClassEncoded\n" + "\n".join(rows) + "\n")
    write_fold(tmp_path / "0", deal(read_rows([source], pattern="/([abc])"), 3)[0])
    names = groups_of(tmp_path / "0")
    assert len(set(names.values())) == 1
    assert {name.count("/") for name in names} == {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "group"),
        ({"column": "speaker", "pattern": "x"}, "group"),
        ({"column": "speakers"}, "'speaker'"),
        ({"pattern": "("}, "group_pattern"),
        ({"pattern": "/(z*)"}, "line 2"),
    ],
    ids=["neither", "both", "column", "expression", "none found"],
)
def test_what_has_no_groups_is_refused(listed, options, match):
    with pytest.raises(ValueError, match=match):
        read_rows([listed], **options)


def test_wrong_lists_are_refused(listed, tmp_path):
    with pytest.raises(ValueError, match="listed before"):
        read_rows([listed, listed], "speaker")
    with pytest.raises(FileNotFoundError):
        read_rows([tmp_path / "none.csv"], "speaker")
    other = tmp_path / "other.csv"
    other.write_text("FileName,Class,ClassEncoded,speaker\na.mp4,go,0,x\n")
    with pytest.raises(ValueError, match="columns"):
        read_rows([listed, other], "speaker")
    other.write_text("name\n1\n")
    with pytest.raises(ValueError, match="columns"):
        read_rows([other], "speaker")


@pytest.mark.parametrize(("folds", "val_groups"), [(1, None), (7, None), (3, 4), (3, 0)])
def test_impossible_numbers_are_refused(listed, folds, val_groups):
    with pytest.raises(ValueError, match="possible"):
        deal(read_rows([listed], "speaker"), folds, val_groups)
