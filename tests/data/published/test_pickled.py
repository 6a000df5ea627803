"""Gym99 and Diving48 as pyskl's pickles."""

import json

import pytest

from taggnn.data.published import read_published
from taggnn.data.skeleton import formats
from tests.data.skeleton import trees

SETS = {
    "gym99_skeleton": (trees.gym99_skeleton, "val", 99),
    "diving48_skeleton": (trees.diving48_skeleton, "test", 48),
}


@pytest.mark.parametrize("name", SETS)
def test_rows(tmp_path, name):
    make, last, classes = SETS[name]
    found, notes = read_published(name, make(tmp_path))
    assert set(found) == {"train", last}
    assert len(found[last]) == 3
    assert found["train"].classes == tuple(map(str, range(classes)))
    assert found[last].counts[0] == 1
    assert "named by their numbers" in " ".join(notes)
    for clip in found["train"]:
        read = formats.read(clip)
        assert read.coordinates.shape == (1, 8, 17, 2)
        assert read.confidence.shape == (1, 8, 17)
        assert read.picture == (1080, 1920)


def test_gym99_takes_the_names_of_its_categories(tmp_path):
    trees.gym99_skeleton(tmp_path)
    lines = [f"Clabel: {k}; set: 1; Glabel: {k}; (VT) element {k}" for k in range(99)]
    (tmp_path / "gym99_categories.txt").write_text("\n".join(lines))
    assert read_published("gym99_skeleton", tmp_path)[0]["train"].classes[98] == "(VT) element 98"


def test_diving48_takes_the_names_of_its_vocabulary(tmp_path):
    trees.diving48_skeleton(tmp_path)
    (tmp_path / "Diving48_vocab.json").write_text(json.dumps([["Back", f"{k}som"] for k in range(48)]))
    assert read_published("diving48_skeleton", tmp_path)[0]["test"].classes[47] == "Back 47som"


@pytest.mark.parametrize("name", SETS)
def test_a_damaged_pickle(tmp_path, name):
    make, _, _ = SETS[name]
    (path,) = make(tmp_path).glob("*.pkl")
    path.write_bytes(path.read_bytes()[:-99])
    with pytest.raises(ValueError, match=rf"{path}: truncated"):
        read_published(name, tmp_path)
