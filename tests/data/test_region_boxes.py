"""regions.csv: written and read to the same boxes, and refused with its line where it is not what it must be."""

import numpy as np
import pytest

from taggnn.data.region_boxes import COLUMNS, read_boxes, write_boxes


def test_boxes_are_read_as_they_were_written(tmp_path):
    boxes = {
        "test/turns, once/a b.mp4": np.array([[1.25, 2.5, 3.0, 4.0], [0.0, -2.0, 1.0, 1.0]]),
        "b.mp4": np.array([[9.0, 8.0, 7.0, 6.0]]),
    }
    write_boxes(tmp_path / "regions.csv", boxes)
    found = read_boxes(tmp_path / "regions.csv")
    assert list(found) == list(boxes)
    for name, rows in boxes.items():
        np.testing.assert_array_equal(found[name], rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.mp4,1,1,1,1,1"], "line 2: frame 1"),
        (["a.mp4,0,1,1,1,1", "a.mp4,0,1,1,1,1"], "line 3: frame 0"),
        (["a.mp4,0,x,1,1,1"], "line 2.*'x'"),
        (["a.mp4,0,1,1"], "line 2"),
        (["a.mp4,0,1,1,0,1"], "line 2: box"),
        (["a.mp4,0,nan,1,1,1"], "line 2: box"),
    ],
    ids=["first frame missing", "frame twice", "no number", "cells missing", "no width", "not a number"],
)
def test_a_wrong_line_is_named(tmp_path, rows, message):
    path = tmp_path / "regions.csv"
    path.write_text("\n".join([",".join(COLUMNS), *rows]))
    with pytest.raises(ValueError, match=rf"regions\.csv.*{message}"):
        read_boxes(path)


def test_a_table_without_the_columns_is_refused(tmp_path):
    path = tmp_path / "regions.csv"
    path.write_text("path,label\na.mp4,1\n")
    with pytest.raises(ValueError, match="frame"):
        read_boxes(path)
    with pytest.raises(FileNotFoundError, match="other"):
        read_boxes(tmp_path / "other.csv")
