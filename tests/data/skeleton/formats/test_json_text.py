"""JSON files: NW-UCLA's and one's own."""

import json

import numpy as np
import pytest

from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from taggnn.data.skeleton.formats import json_text
from tests.data.skeleton import trees


@pytest.fixture
def read(tmp_path):
    """``read(content)`` reads a file with this content as JSON, or with this text."""

    def reading(content):
        text = content if isinstance(content, (str, bytes)) else json.dumps(content)
        (tmp_path / "1.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        return formats.read(Clip(str(tmp_path / "1.json"), 0, "1"))

    return reading


def test_nw_ucla(tmp_path):
    root = trees.nw_ucla(tmp_path)
    frames = [
        formats.read(Clip(str(path), 0, path.name)).coordinates.shape for path in sorted(root.glob("all_sqe/*.json"))
    ]
    assert frames[0] == (1, 1, 20, 3)
    assert all(shape[0] == 1 and shape[2:] == (20, 3) for shape in frames)


@pytest.mark.parametrize("persons", [None, 1, 2])
@pytest.mark.parametrize("key", [None, "coordinates", "keypoint", "skeletons"])
def test_own(read, persons, key):
    array = trees.body(3, 4).round(3) if persons is None else np.stack([trees.body(3, 4, s) for s in range(persons)])
    content = array.tolist() if key is None else {key: array.tolist(), "label": 1}
    assert np.array_equal(read(content).coordinates, array[None] if persons is None else array)


def test_confidence(read):
    array = trees.body(3, 4)
    found = read({"coordinates": array.tolist(), "confidence": np.full((3, 4), 0.5).tolist()})
    assert found.confidence.shape == (1, 3, 4)
    assert (found.confidence == 0.5).all()


@pytest.mark.parametrize("missing", ["null", "NaN"])
def test_missing_joints(read, missing):
    found = read(f"[[[1, 2], [{missing}, {missing}]], [[3, 4], [5, 6]]]")
    assert found.coordinates.isnan().nonzero().tolist() == [[0, 0, 1, 0], [0, 0, 1, 1]]


def test_a_byte_order_mark(read):
    assert read(b"\xef\xbb\xbf[[[1, 2]]]").coordinates.tolist() == [[[[1, 2]]]]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[" * 100_000,
        "{}",
        "[]",
        b"[\xff]",
        {"x": [[[1, 2, 3]]]},
        {"coordinates": None},
        {"coordinates": "abc"},
        [[[1, 2], [3]]],
        [[[1, {}]]],
        [[[1, 10**400]]],
        {"coordinates": [[[1, 2]]], "keypoint": [[[1, 2]]]},
        {"coordinates": [[[1, 2]]], "confidence": [[1, 2]]},
    ],
    ids=["cut", "deep", "empty", "no-list", "bytes", "key", "null", "text", "ragged", "object", "huge", "two", "confidence"],
)  # fmt: skip
def test_wrong_content(read, content):
    with pytest.raises(formats.FormatError):
        read(content)


def test_a_file_too_large_to_be_a_clip(read, monkeypatch):
    monkeypatch.setattr(json_text, "MAX_BYTES", 10)
    with pytest.raises(formats.FormatError, match="bytes"):
        read([[[1, 2, 3]]])
