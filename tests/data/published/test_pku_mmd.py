"""PKU-MMD: actions of long recordings."""

import pytest

from taggnn.data.published import read_published
from taggnn.data.published.pku_mmd import ACTIONS
from taggnn.data.skeleton import formats
from tests.data.skeleton import trees


def test_there_are_51_actions():
    assert len(set(ACTIONS)) == 51


@pytest.mark.parametrize(
    ("version", "list_name"),
    [("xsub", "cross-subject.txt"), ("xview", "cross-view.txt"), ("xsub", "cross_subject.txt")],
    ids=["xsub", "xview", "underscore"],
)
def test_actions_are_clips(tmp_path, version, list_name):
    found, notes = read_published("pku_mmd", trees.pku(tmp_path, list_name=list_name), version=version)
    assert [(clip.name, clip.label, clip.start, clip.stop) for clip in found["train"]] == [
        *(("0002-L 2-10", 0, 2, 10), ("0002-L 14-22", 3, 14, 22), ("0002-L 26-34", 6, 26, 34)),
        *(("0002-M 2-10", 0, 2, 10), ("0002-M 14-22", 3, 14, 22), ("0002-M 26-34", 6, 26, 34)),
    ]
    assert len(found["test"]) == 6
    assert len(notes) == 1
    shapes = [formats.read(clip).coordinates.shape for clip in found["train"]]
    assert shapes == [(1, 8, 25, 3)] * 3 + [(2, 8, 25, 3)] * 3


def test_lists_in_a_folder_of_their_own(tmp_path):
    trees.pku(tmp_path)
    (tmp_path / "lists").mkdir()
    for name in ("Train_Label_PKU_final", "cross-subject.txt"):
        (tmp_path / name).rename(tmp_path / "lists" / name)
    found, _ = read_published("pku_mmd", tmp_path / "PKU_Skeleton_Renew", annotations=tmp_path / "lists")
    assert len(found["train"]) == 6
    assert formats.read(found["test"][0]).coordinates.shape[1:] == (8, 25, 3)


def test_a_recording_that_is_gone(tmp_path):
    trees.pku(tmp_path)
    (tmp_path / "PKU_Skeleton_Renew" / "0002-M.txt").unlink()
    found, _ = read_published("pku_mmd", tmp_path)
    assert len(found["train"]) == 3
    assert len(found["train"].missing) == 3


def test_a_recording_without_a_list_of_actions(tmp_path):
    trees.pku(tmp_path)
    (tmp_path / "Train_Label_PKU_final" / "0002-M.txt").unlink()
    found, notes = read_published("pku_mmd", tmp_path)
    assert len(found["train"]) == 3
    assert "without a list of actions: 1 (0002-M" in " ".join(notes)


def test_no_list_of_actions(tmp_path):
    trees.pku(tmp_path)
    for path in (tmp_path / "Train_Label_PKU_final").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no list of actions"):
        read_published("pku_mmd", tmp_path)


@pytest.mark.parametrize(
    "row", ["0,2,10,1", "52,2,10,1", "1,10,10,1", "1,10,2,1", "1,2", "x,2,10,1", "1,-2,10,1", "1,2.5,10,1"], ids=str
)
def test_a_wrong_row(tmp_path, row):
    trees.pku(tmp_path)
    path = tmp_path / "Train_Label_PKU_final" / "0002-L.txt"
    path.write_text(f"1,2,10,1\n{row}\n4,14,22\n")
    problems = []
    assert len(read_published("pku_mmd", tmp_path, problems=problems)[0]["train"]) == 5
    assert [(problem.kind, problem.source, problem.line) for problem in problems] == [("malformed", str(path), 2)]


@pytest.mark.parametrize(
    "text", ["0002-L, 0002-M\n", "Training videos:\n0002-L\n", "", "Validataion videos:\n0002-L\n"], ids=repr
)
def test_a_wrong_list_of_recordings(tmp_path, text):
    trees.pku(tmp_path)
    (tmp_path / "cross-subject.txt").write_text(text)
    with pytest.raises(ValueError, match="Training videos"):
        read_published("pku_mmd", tmp_path)


def test_an_empty_recording_is_left_to_the_reader(tmp_path):
    trees.pku(tmp_path)
    (tmp_path / "PKU_Skeleton_Renew" / "0002-M.txt").write_text("")
    found, _ = read_published("pku_mmd", tmp_path)
    with pytest.raises(formats.FormatError, match="empty"):
        formats.read(found["train"][3])
