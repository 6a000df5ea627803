"""The TAG-Head authors' CSV lists."""

import pytest

from taggnn.data.lists.reading import read_clips

HEAD = "FileName,Class,TotalFrames,ClassEncoded\n"


def read(root, text, **options):
    (root / "list.csv").write_text(text)
    return read_clips(root, root / "list.csv", **options)


def test_rows_become_clips_in_their_order(tmp_path, touch):
    touch("jump/1.mp4", "long run/2.mp4")
    found = read(tmp_path, HEAD + "2.mp4,long run,30,1\n1.mp4,jump,12,0\n")
    assert found.classes == ("jump", "long run")
    assert [(clip.name, clip.label) for clip in found] == [("long run/2.mp4", 1), ("jump/1.mp4", 0)]


def test_the_first_of_three_paths_is_used(tmp_path, touch):
    for name in ("1.mp4", "clips/jump/1.mp4", "jump/1.mp4"):
        touch(name)
        assert read(tmp_path, HEAD + "1.mp4,jump,9,0\n")[0].name == name


def test_columns_in_any_order_with_a_byte_order_mark_and_without_frame_counts(tmp_path, touch):
    touch("jump/1.mp4")
    found = read(tmp_path, "\ufeffClassEncoded, FileName,Class,Note\n0, 1.mp4,jump,x\n")
    assert (found[0].label, found[0].name) == (0, "jump/1.mp4")


def test_classes_without_rows_or_files_keep_their_index(tmp_path, touch):
    touch("jump/1.mp4")
    assert read(tmp_path, HEAD + "1.mp4,jump,9,2\n").classes == ("0", "1", "jump")
    found = read(tmp_path, HEAD + "1.mp4,jump,9,0\n2.mp4,run,9,1\n", missing="skip")
    assert found.classes == ("jump", "run")
    assert found.missing == ("run/2.mp4",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label\n1.mp4,0\n",
            r"line 1: no column FileName, Class, ClassEncoded; expected FileName,.*found path,label",
        ),
        (HEAD + "1.mp4,jump,9,x\n", r"line 2, ClassEncoded: 'x' is not a class number"),
        (HEAD + "1.mp4,jump,9,-1\n", r"line 2, ClassEncoded: '-1' is not a class number"),
        (HEAD + "1.mp4,jump,9,1.0\n", r"'1\.0' is not a class number"),
        (HEAD + "1.mp4,jump,9,99999999999\n", "below 100000"),
        (HEAD + "1.mp4,jump,9\n", r"line 2, ClassEncoded: '' is not"),
        (HEAD + ",jump,9,0\n", "line 2: FileName and Class must not be empty"),
        (HEAD + "1.mp4,jump,9,0\n2.mp4,jump,9,1\n", r"line 3: class 'jump' has ClassEncoded 1 here and 0 in line 2"),
        (HEAD + "1.mp4,jump,9,0\n2.mp4,run,9,0\n", r"line 3: ClassEncoded 0 is 'run' here and 'jump' in line 2"),
        (HEAD + "1.mp4,jump,9,0\n1.mp4,jump,9,0\n", r"line 3: jump/1\.mp4 is listed before, on line 2"),
    ],
)
def test_rows_that_contradict_are_refused_with_their_line(tmp_path, text, message, touch):
    touch("jump/1.mp4", "jump/2.mp4", "run/2.mp4")
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2.mp4,rum,9,1", "line 2: unknown class 'rum'; did you mean 'run'"),
        ("2.mp4,run,9,0", "class 'run' has ClassEncoded 0 here and 1 in the train list"),
    ],
)
def test_a_list_is_held_against_the_train_classes(tmp_path, row, message, touch):
    touch("run/2.mp4")
    assert read(tmp_path, HEAD + "2.mp4,run,9,1\n", classes=["jump", "run"]).classes == ("jump", "run")
    with pytest.raises(ValueError, match=message):
        read(tmp_path, HEAD + row + "\n", classes=["jump", "run"])
