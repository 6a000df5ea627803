"""Plain lists of `path label` lines."""

import pytest

from taggnn.data.lists.reading import read_clips


def read(root, text, *files, **options):
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "list.txt").write_text(text)
    return read_clips(root, root / "list.txt", **options)


@pytest.mark.parametrize(
    "line", ["a b/1 x.mp4 2", "a b/1 x.mp4,2", "a b/1 x.mp4 , 2", "a b/1 x.mp4\t2", "\ufeffa b/1 x.mp4   2  "]
)
def test_the_label_is_the_last_field(tmp_path, line):
    found = read(tmp_path, line, "a b/1 x.mp4")
    assert [(clip.name, clip.label) for clip in found] == [("a b/1 x.mp4", 2)]
    assert found.classes == ("0", "1", "2")


def test_absolute_paths_empty_lines_and_comments(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "2.mp4").touch()
    root = tmp_path / "root"
    root.mkdir()
    found = read(root, f"# names\n\n{other / '2.mp4'} 0\n1,2.mp4,1\n", "1,2.mp4")
    assert [clip.name for clip in found] == [(other / "2.mp4").as_posix(), "1,2.mp4"]


@pytest.mark.parametrize("line", ["1.mp4 long jump", "1.mp4, long jump", "1.mp4 1"])
def test_class_names_where_they_are_known(tmp_path, line):
    found = read(tmp_path, line, "1.mp4", classes=["jump", "long jump"])
    assert found[0].label == 1
    assert found[0].name == "1.mp4"
    assert found.classes == ("jump", "long jump")


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("1.mp4 0\n1.mp4", None, r"line 2: '1\.mp4' is not 'path label'"),
        ("1.mp4 jump", None, "line 1: label 'jump' is not a number"),
        ("1.mp4 -1", None, "line 1, label: '-1' is not a class number"),
        ("1.mp4 1.5", None, "is not a class number"),
        ("1.mp4 123456789012", None, "below 100000"),
        ("1.mp4 2", ["a", "b"], "line 1: label 2 is out of range; the classes are 0 to 1"),
        ("1.mp4 jumb", ["jump", "run"], "line 1: unknown class 'jumb'; did you mean 'jump'"),
        ("jump", ["jump", "run"], "is not 'path label'"),
    ],
)
def test_labels_that_cannot_be_are_refused_with_their_line(tmp_path, text, classes, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text, "1.mp4", classes=classes)
