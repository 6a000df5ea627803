"""The list format of taggnn: what is written is read back, and wrong rows are reported."""

import os
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.reading import read_clips
from taggnn.data.lists.taggnn_csv import write_clips

HEAD = "path,class,label,start,stop,origin,name\n"


def read(root, text, **options):
    (root / "list.csv").write_text(text)
    return read_clips(root, root / "list.csv", **options)


def test_what_is_written_is_read_back(tmp_path, touch):
    root, other = tmp_path / "root", tmp_path / "other"
    touch("a, b/-1.mp4", "_2.mp4", root=root)
    touch("3.mp4", root=other)
    clips = (
        Clip(str(root / "a, b/-1.mp4"), 2, "first", 0.1, 0.30000000000000004, 1e-7),
        Clip(str(root / "a, b/-1.mp4"), 0, "second", 2410.77, None),
        Clip(str(root / "_2.mp4"), 0, "_2.mp4"),
        Clip(str(other / "3.mp4"), 2, "elsewhere", None, 7.5),
    )
    written = ClipList(clips, ("run", "1", 'a "jump", long'), "list")
    path = write_clips(tmp_path / "clean.csv", written, root)
    assert path.read_text().splitlines()[:2] == [
        HEAD.strip(),
        '"a, b/-1.mp4","a ""jump"", long",2,0.1,0.30000000000000004,1e-07,first',
    ]
    again = read_clips(root, path)
    assert again.clips == clips
    assert again.classes == written.classes
    assert read_clips(root, path, classes=written.classes) == again


def test_clips_of_one_file_are_read_back(tmp_path, touch):
    touch("set.pkl", "1.npy", root=tmp_path)
    clips = (
        Clip(str(tmp_path / "set.pkl"), 0, "a", member="a"),
        Clip(str(tmp_path / "set.pkl"), 1, "b", 3.0, 9.0, member="b, b"),
        Clip(str(tmp_path / "1.npy"), 1, "1.npy"),
    )
    path = write_clips(tmp_path / "clean.csv", ClipList(clips, ("run", "jump"), "list"), tmp_path)
    assert path.read_text().splitlines()[0] == HEAD.strip() + ",member"
    assert read_clips(tmp_path, path).clips == clips


def test_members_name_themselves(tmp_path, touch):
    touch("set.pkl", root=tmp_path)
    found = read(tmp_path, "path,class,label,member\nset.pkl,run,0,a\nset.pkl,run,0,b\n")
    assert [(clip.name, clip.member) for clip in found] == [("set.pkl/a", "a"), ("set.pkl/b", "b")]


def test_a_member_listed_twice(tmp_path, touch):
    touch("set.pkl", root=tmp_path)
    problems = []
    read(tmp_path, "path,class,label,member\nset.pkl,run,0,a\nset.pkl,run,0,a\n", problems=problems)
    assert [(problem.kind, problem.line) for problem in problems] == [("repeated", 3)]


NAMES = st.text(
    st.sampled_from(" ,\"'\n\r\t#\ufeff[)") | st.characters(codec="utf-8", exclude_characters="/\0"),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@pytest.mark.skipif(os.name == "nt", reason="these names are no file names there")
@given(
    st.lists(
        st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=4, unique_by=(lambda row: row[1:2], lambda row: row[2])
    )
)
def test_names_of_every_kind_are_read_back(rows):
    with TemporaryDirectory() as root:
        classes = tuple(dict.fromkeys(name for name, *_ in rows))
        paths = [os.path.join(root, f"{number}", file) for number, (_, file, _) in enumerate(rows)]
        for path in paths:
            os.mkdir(os.path.dirname(path))
            open(path, "w").close()
        clips = tuple(Clip(path, classes.index(kind), name) for path, (kind, _, name) in zip(paths, rows, strict=True))
        list_file = write_clips(os.path.join(root, "clean.csv"), ClipList(clips, classes, "list"), root)
        again = read_clips(root, list_file)
        assert (again.clips, again.classes) == (clips, classes)


def test_only_three_columns_are_needed_and_a_cut_names_itself(tmp_path, touch):
    touch("1.mp4")
    found = read(tmp_path, "\ufefflabel, class ,path,start,stop\n0,jump,1.mp4,,\n0,jump,1.mp4,1.5,2\n0,jump,1.mp4,2,\n")
    assert [clip.name for clip in found] == ["1.mp4", "1.mp4 [1.5, 2.0)", "1.mp4 [2.0, end)"]
    assert [(clip.start, clip.stop, clip.origin) for clip in found][1:] == [(1.5, 2.0, None), (2.0, None, None)]


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        ("1.mp4,jump,x,,,,\n", "malformed", "line 2, label: 'x' is not a class number"),
        ("1.mp4,,0,,,,\n", "malformed", "line 2: path and class must not be empty"),
        ("1.mp4,jump,0,-1,,,\n", "malformed", "line 2, start: '-1' is not a number of seconds from 0"),
        ("1.mp4,jump,0,,inf,,\n", "malformed", "line 2, stop: 'inf' is not"),
        ("1.mp4,jump,0,2,2,,\n", "malformed", "line 2: nothing lies between start 2 and stop 2"),
        ("1.mp4,jump,0,,,,\n2.mp4,run,0,,,,\n", "mislabelled", "line 3: label 0 is 'run' here and 'jump' in line 2"),
        ("1.mp4,jump,0,1,2,,\n1.mp4,jump,0,1,2,,\n", "repeated", "line 3: 1.mp4 is listed before, on line 2"),
        ("1.mp4,jump,0,,,,a\n2.mp4,jump,0,,,,a\n", "repeated", "line 3: the name 'a' is given before, on line 2"),
    ],
)
def test_a_wrong_row_is_refused_or_collected(tmp_path, rows, kind, message, touch):
    touch("1.mp4", "2.mp4")
    with pytest.raises(ValueError, match=message):
        read(tmp_path, HEAD + rows)
    problems = []
    kept = read(tmp_path, HEAD + rows, problems=problems)
    (problem,) = problems
    assert problem.kind == kind
    assert len(kept) == rows.count("\n") - 1
    assert message.split(": ", 1)[1] in problem.message
    assert problem.line == int(message.split()[1].strip(":,"))


def test_a_table_must_be_named_csv(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        write_clips(tmp_path / "list.txt", ClipList((), (), "list"), tmp_path)
