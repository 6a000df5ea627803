"""NW-UCLA."""

import json
from pathlib import Path

import pytest

from taggnn.data.lists.splits import read_splits
from taggnn.data.published import read_published
from tests.data.skeleton import trees

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "nw_ucla"
FOLDERS = {"train": "train", "val": "val", "test": "test"}


@pytest.mark.parametrize("split_file", [True, False], ids=["list", "rule"])
def test_cameras_1_and_2_train_and_3_tests(tmp_path, split_file):
    found, notes = read_published("nw_ucla", trees.nw_ucla(tmp_path, split_file))
    assert {clip.name[-3:] for clip in found["train"]} == {"v01", "v02"}
    assert {clip.name[-3:] for clip in found["test"]} == {"v03"}
    assert found["train"].counts == [4] * 10
    assert found["test"].counts == [2] * 10
    assert found["train"].classes[6] == "donning"
    assert {clip.label for clip in found["test"] if clip.name.startswith("a08")} == {6}
    assert "1,020" in " ".join(notes)


def test_both_ways_give_the_same_clips(tmp_path):
    with_list, _ = read_published("nw_ucla", trees.nw_ucla(tmp_path))
    (tmp_path / "split.json").unlink()
    by_rule, _ = read_published("nw_ucla", tmp_path)
    assert set(with_list["train"]) == set(by_rule["train"])
    assert set(with_list["test"]) == set(by_rule["test"])


def test_a_part_of_train_is_held_out_to_choose_on(tmp_path):
    found = read_splits(trees.nw_ucla(tmp_path), {}, FOLDERS, dataset="nw_ucla")
    assert [len(found.train), len(found.val), len(found.test)] == [30, 10, 20]
    assert not any("v03" in clip.name for clip in found.val)


def test_a_sequence_that_is_gone_is_missing(tmp_path):
    trees.nw_ucla(tmp_path)
    (tmp_path / "all_sqe" / "a12_s02_e00_v03.json").unlink()
    assert read_published("nw_ucla", tmp_path)[0]["test"].missing == ("a12_s02_e00_v03",)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"file_name": "a01_s01_e00_v01", "label": 2}, "mislabelled"),
        ({"file_name": "a07_s01_e00_v01", "label": 7}, "malformed"),
        ({"file_name": "video", "label": 1}, "malformed"),
        ({"file_name": "a01_s01_e00_v01", "label": "1"}, "malformed"),
        ({"file_name": None}, "malformed"),
        ("a01_s01_e00_v01", "malformed"),
    ],
    ids=["label", "action", "name", "text", "none", "no-object"],
)
def test_a_wrong_row(tmp_path, row, kind):
    trees.nw_ucla(tmp_path)
    entries = json.loads((tmp_path / "split.json").read_text())
    entries["val"].insert(1, row)
    (tmp_path / "split.json").write_text(json.dumps(entries))
    problems = []
    assert len(read_published("nw_ucla", tmp_path, problems=problems)[0]["test"]) == 20
    assert [(problem.kind, problem.line) for problem in problems] == [(kind, 2)]


def test_an_action_that_is_none_of_ten_is_a_problem_of_the_file(tmp_path):
    trees.nw_ucla(tmp_path, split_file=False)
    (tmp_path / "all_sqe" / "a07_s01_e00_v01.json").write_text("{}")
    problems = []
    read_published("nw_ucla", tmp_path, problems=problems)
    assert [(problem.kind, problem.name) for problem in problems] == [("malformed", "a07_s01_e00_v01")]


def test_a_list_without_a_split(tmp_path):
    trees.nw_ucla(tmp_path)
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(ValueError, match=r"split\.json, key train"):
        read_published("nw_ucla", tmp_path)


@pytest.mark.parametrize("split_file", [True, False], ids=["list", "rule"])
def test_without_copies_train_has_no_sequence_of_the_test(tmp_path, split_file):
    trees.nw_ucla(tmp_path, split_file)
    folder = tmp_path / "all_sqe"
    for camera, name in ((3, "a02_s01_e00_v02"), (2, "a03_s01_e00_v01")):
        content = json.loads((folder / f"{name[:-1]}{camera}.json").read_text())
        (folder / f"{name}.json").write_text(json.dumps({**content, "file_name": name}))
    (folder / "a12_s02_e00_v03.json").write_text("{")
    whole, _ = read_published("nw_ucla", tmp_path)
    found, notes = read_published("nw_ucla", tmp_path, version="xview_unique")
    assert {clip.name for clip in whole["train"]} - {clip.name for clip in found["train"]} == {"a02_s01_e00_v02"}
    assert found["test"] == whole["test"]
    assert "left out: 1" in " ".join(notes)
    assert read_published("nw_ucla", tmp_path, version="xview_unique", splits=["train"])[0]["train"] == found["train"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the NW-UCLA skeletons are not there")
@pytest.mark.parametrize("folder", ["", "all_sqe"], ids=["list", "rule"])
def test_the_published_counts(folder):
    found, notes = read_published("nw_ucla", REAL / folder)
    assert (len(found["train"]), len(found["test"]), len(notes)) == (1_020, 464, 1)


@pytest.mark.skipif(not REAL.is_dir(), reason="the NW-UCLA skeletons are not there")
def test_the_copies_in_the_published_files():
    whole, found = (read_published("nw_ucla", REAL, version=version)[0] for version in ("xview", "xview_unique"))
    copies = {clip.name for clip in whole["train"]} - {clip.name for clip in found["train"]}
    assert len(copies) == 95
    assert {(name[:3], name[-3:]) for name in copies} == {("a02", "v02"), ("a03", "v02")}
