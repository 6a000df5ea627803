"""HMDB51 lists."""

import pytest

from taggnn.data.published import read_published

LISTS = {
    "splits/brush_hair_test_split1.txt": "a#1!.avi 1 \nb.avi 2 \nc.avi 0 \n",
    "splits/wave_test_split1.txt": "b.avi 1 \nd.avi 2 \n",
    "splits/wave_test_split2.txt": "b.avi 2 \n",
}


def test_three_uses_of_a_clip(touch):
    videos = ["brush_hair/a#1!.avi", "brush_hair/b.avi", "brush_hair/c.avi", "wave/b.avi", "wave/d.mp4"]
    found, notes = read_published("hmdb51", touch(*videos, **LISTS))
    assert found["train"].classes == ("brush_hair", "wave")
    assert [(clip.name, clip.label) for clip in found["train"]] == [("brush_hair/a#1!.avi", 0), ("wave/b.avi", 1)]
    # One stem in two classes: each row has the file in the folder of its class.
    assert [clip.path.split("/")[-2:] for clip in found["train"]] == [["brush_hair", "a#1!.avi"], ["wave", "b.avi"]]
    assert [clip.name for clip in found["test"]] == ["brush_hair/b.avi", "wave/d.avi"]
    assert "2 classes were found; hmdb51 split1 has 51" in notes


def test_a_wrong_row(touch):
    lists = LISTS | {"splits/wave_test_split1.txt": "b.avi 1 \nd.avi 3 \nb.avi\n"}
    problems = []
    read_published("hmdb51", touch(**lists), problems=problems)
    assert [(p.kind, p.line) for p in problems if p.kind != "missing"] == [("malformed", 2), ("malformed", 3)]


def test_no_lists(touch):
    with pytest.raises(FileNotFoundError, match=r"no <class>_test_split3\.txt below"):
        read_published("hmdb51", touch(**LISTS), version="3")
