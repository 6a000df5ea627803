"""Kinetics lists."""

import pytest

from taggnn.data.published import read_published

HEAD = "label,youtube_id,time_start,time_end,split\n"
ROWS = 'testifying,---QUuC4vJs,84,94,train\n"eating, drinking",_bcd,0,10,train\n'


def test_rows_and_names(touch):
    root = touch(
        "k400/train/testifying/---QUuC4vJs_000084_000094.mp4",
        "k400/val/_bcd_000000_000010.mkv",
        **{"train.csv": HEAD + ROWS, "lists/kinetics-400_validate.csv": HEAD + ROWS.splitlines()[1] + "\n"},
    )
    found, notes = read_published("kinetics", root)
    assert set(found) == {"train", "val"}
    assert found["val"].classes == ("eating, drinking", "testifying")
    assert [(clip.name, clip.label) for clip in found["train"]] == [
        ("---QUuC4vJs_000084_000094", 1),
        ("_bcd_000000_000010", 0),
    ]
    assert notes[0].startswith("kinetics 400: train 2 listed, 2 found (100 %); val 1 listed")
    assert "2 classes were found; kinetics 400 has 400" in notes
    # A list whose name says another version is not taken.
    with pytest.raises(
        FileNotFoundError, match=r"kinetics 700-2020: no kinetics-700-2020_val\.csv or .*there are the lists"
    ):
        read_published("kinetics", root, version="700-2020")


def test_a_test_list_without_labels_is_left_out_with_a_note(touch):
    lists = {
        "train.csv": HEAD + ROWS,
        "val.csv": HEAD + ROWS,
        "test.csv": "youtube_id,time_start,time_end\n_bcd,0,10\n",
    }
    found, notes = read_published("kinetics", touch("_bcd_000000_000010.mp4", **lists))
    assert set(found) == {"train", "val"}
    assert any("test.csv has no labels and is left out" in note for note in notes)


def test_wrong_rows(touch):
    rows = ROWS + "testifying,x,1.5,3,train\nrunning,_bcd,0,10,train\n"
    problems = []
    root = touch("_bcd_000000_000010.mp4", **{"train.csv": HEAD + rows})
    classes = ["eating, drinking", "testifying"]
    read_published("kinetics", root, splits=["train"], classes=classes, problems=problems)
    assert [(problem.kind, problem.line) for problem in problems] == [
        ("malformed", 4),
        ("mislabelled", 5),
        ("missing", 2),
    ]


def test_a_list_without_its_columns(touch):
    with pytest.raises(ValueError, match=r"train\.csv, line 1: no column youtube_id, time_start, time_end; found a,b"):
        read_published("kinetics", touch(**{"train.csv": "a,b\n"}), splits=["train"])
