"""The choice of the reader, and what it does with files that are not there."""

import pytest

from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.reading import read_clips


def test_the_reader_follows_from_what_is_given(tmp_path, touch):
    touch("a/1.mp4", "b/2.mp4")
    (tmp_path / "list.csv").write_text("FileName,Class,TotalFrames,ClassEncoded\n2.mp4,b,9,0\n")
    (tmp_path / "list.txt").write_text("a/1.mp4 3\n")
    folders = read_clips(tmp_path)
    assert folders.classes == ("a", "b")
    assert folders.counts == [1, 1]
    table = read_clips(tmp_path, tmp_path / "list.csv")
    assert table.clips == (Clip(str(tmp_path / "b/2.mp4"), 0, "b/2.mp4"),)
    assert table.source == str(tmp_path / "list.csv")
    lines = read_clips(tmp_path, tmp_path / "list.txt")
    assert lines.classes == ("0", "1", "2", "3")
    assert lines.counts == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("root", "list", "message"),
    [
        ("none", None, "none: no such folder"),
        ("file", None, "file: is a file"),
        (".", "none.csv", r"none\.csv: no such list file"),
        (".", "folder", "folder: is a folder"),
    ],
)
def test_a_missing_root_or_list_is_named(tmp_path, root, list, message, touch):
    touch("file", "folder/x")
    with pytest.raises(FileNotFoundError, match=message):
        read_clips(tmp_path / root, list and tmp_path / list)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        *((name, content, "the list is empty") for name in ("list.csv", "list.txt") for content in (b"", b"\n\n")),
        *((name, b"\xff\xfe\x00", "not a text file") for name in ("list.csv", "list.txt")),
        ("list.csv", b"FileName,Class,ClassEncoded\n" + b"a" * 200_000, r"not a CSV table \(field"),
        ("list.txt", b"a.mp4 0\n\na.mp4 1\n", r"line 3: a\.mp4 is listed before, on line 1"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_list_that_cannot_be_used_is_named(tmp_path, touch, name, content, message):
    touch("a.mp4")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}[,:] ?.*{message}"):
        read_clips(tmp_path, tmp_path / name)


def test_all_missing_files_are_gathered(tmp_path, touch):
    touch("there.mp4")
    lines = [f"gone{number}.mp4 0" for number in range(7)] + ["there.mp4 1"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    with pytest.raises(
        FileNotFoundError, match=r"7 of 8 .*gone0\.mp4 \(line 1\).*gone4\.mp4 \(line 5\) and 2 more"
    ) as error:
        read_clips(tmp_path, tmp_path / "list.txt")
    assert "gone5" not in str(error.value)
    found = read_clips(tmp_path, tmp_path / "list.txt", missing="skip")
    assert [clip.name for clip in found] == ["there.mp4"]
    assert found.missing == tuple(f"gone{number}.mp4" for number in range(7))
    assert found.missing_labels == (0,) * 7
    assert (len(found), found.listed) == (1, 8)
    assert (found.counts, found.listed_counts) == ([0, 1], [7, 1])
    assert found.classes == ("0", "1")


def test_a_list_with_no_file_at_all_is_refused_even_when_skipping(tmp_path):
    (tmp_path / "list.txt").write_text("gone.mp4 0\n")
    with pytest.raises(FileNotFoundError, match="none of the 1 listed files"):
        read_clips(tmp_path, tmp_path / "list.txt", missing="skip")


def test_an_unknown_policy_is_refused(tmp_path):
    with pytest.raises(ValueError, match="possible are 'error' and 'skip'"):
        read_clips(tmp_path, missing="ignore")


def test_rows_and_lists_cannot_be_changed():
    clip = Clip("a.mp4", 0, "a.mp4")
    with pytest.raises(AttributeError):
        clip.label = 1
    assert len(ClipList((clip,), ("a",), "here")) == 1
    assert ClipList((clip,), ("a",), "here")[0] is clip
