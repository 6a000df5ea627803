"""Problems of single rows are collected where a list is given, by every reader of own lists."""

import pytest

from taggnn.data.lists.reading import read_clips
from taggnn.data.lists.splits import read_splits
from taggnn.data.problems import KINDS, Problem

FOLDERS = {"train": "train", "val": "val", "test": "test"}


@pytest.fixture
def root(tmp_path):
    for name in ("a/1.mp4", "a/2.mp4", "b/3.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(root, name, text, **options):
    (root / name).write_text(text)
    problems = []
    found = read_clips(root, root / name, problems=problems, **options)
    assert {problem.kind for problem in problems} <= set(KINDS)
    return [clip.name for clip in found], [(problem.kind, problem.line, problem.name) for problem in problems], problems


def test_path_label(root):
    text = "a/1.mp4 0\nword\na/2.mp4 7.5\na/1.mp4 0\ngone.mp4 1\nb/3.mp4 1\n"
    names, problems, full = read(root, "list.txt", text)
    assert names == ["a/1.mp4", "b/3.mp4"]
    assert problems == [
        ("malformed", 2, "word"),
        ("malformed", 3, "a/2.mp4 7.5"),
        ("repeated", 4, "a/1.mp4"),
        ("missing", 5, "gone.mp4"),
    ]
    assert full[0] == Problem("malformed", str(root / "list.txt"), 2, "word", "'word' is not 'path label'")
    assert str(root / "gone.mp4") in full[3].message


def test_csv(root):
    rows = ["1.mp4,a,0", "2.mp4,b,0", "3.mp4,b,1", "2.mp4,a,x", "9.mp4,a,0"]
    names, problems, _ = read(root, "list.csv", "FileName,Class,ClassEncoded\n" + "\n".join(rows) + "\n")
    assert names == ["a/1.mp4", "b/3.mp4"]
    assert problems == [("mislabelled", 3, "b/2.mp4"), ("malformed", 5, "a/2.mp4"), ("missing", 6, "a/9.mp4")]


def test_folders(root):
    problems = []
    found = read_clips(root, classes=["a"], problems=problems)
    assert [clip.name for clip in found] == ["a/1.mp4", "a/2.mp4"]
    assert [(problem.kind, problem.name) for problem in problems] == [("mislabelled", "b")]


def test_a_list_of_nothing_but_problems_is_no_error(root):
    assert read(root, "list.txt", "gone.mp4 0\nword\n")[:2] == (
        [],
        [("malformed", 2, "word"), ("missing", 1, "gone.mp4")],
    )
    (root / "empty.txt").touch()
    with pytest.raises(ValueError, match="the list is empty"):
        read_clips(root, root / "empty.txt", problems=[])


def two_splits(root, train, val):
    head = "path,class,label,start,stop\n"
    for split, rows in (("train", train), ("val", val)):
        (root / f"{split}.csv").write_text(head + "".join(f"{row}\n" for row in rows))
    return {"train": "train.csv", "val": "val.csv"}


def test_the_same_clip_in_two_splits(root):
    lists = two_splits(
        root,
        ["a/1.mp4,a,0,,", "a/2.mp4,a,0,0,4", "b/3.mp4,b,1,0,5"],
        ["a/1.mp4,a,0,2,3", "a/2.mp4,a,0,3,6", "b/3.mp4,b,1,4.9,9"],
    )
    (note, _) = read_splits(root, lists, FOLDERS).notes
    assert note == (
        "2 clips are in two splits, so scores are too good: a/1.mp4 [2.0, 3.0) (train and val), "
        "a/2.mp4 [3.0, 6.0) (train and val)"
    )
    problems = []
    read_splits(root, lists, FOLDERS, problems=problems)
    assert [(problem.kind, problem.name) for problem in problems] == [
        ("two splits", "a/1.mp4 [2.0, 3.0)"),
        ("two splits", "a/2.mp4 [3.0, 6.0)"),
    ]


def test_splits_that_share_nothing_have_no_note(root):
    lists = two_splits(root, ["a/1.mp4,a,0,,", "b/3.mp4,b,1,,"], ["a/2.mp4,a,0,,"])
    assert not any("two splits" in note for note in read_splits(root, lists, FOLDERS).notes)
