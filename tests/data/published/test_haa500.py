"""HAA500: the number in a file's name is its split."""

import pytest

from taggnn.data.published import read_published


def whole(*classes):
    return [f"video/{name}/{name}_{number:03d}.mp4" for name in classes for number in range(20)]


def test_the_number_decides_the_split(touch):
    found, notes = read_published("haa500", touch(*whole("yoga_tree", "abseiling")))
    assert found["train"].classes == ("abseiling", "yoga_tree")
    assert [len(found[split]) for split in ("train", "val", "test")] == [32, 2, 6]
    assert [clip.name for clip in found["val"]] == ["abseiling/abseiling_016", "yoga_tree/yoga_tree_016"]
    assert found["test"].counts == [3, 3]
    assert notes[0].startswith("haa500 v1.1: train 32 listed of 8,000 published, 32 found (100 %); val 2 listed of 500")
    assert "2 classes were found; haa500 v1.1 has 500" in notes


def test_what_is_missing_is_named(touch):
    root = touch(*whole("run"), "other/9.mp4")
    (root / "video/run/run_003.mp4").unlink()
    (root / "video/run/run_017.mp4").rename(root / "video/run/run_017.webm")
    found, _ = read_published("haa500", root)
    assert found["train"].missing == ("run/run_003",)
    assert found["test"][0].path.endswith("run_017.webm")


def test_a_file_in_a_wrong_folder_is_mislabelled(touch):
    root = touch(*whole("run"), "video/run/jump_002.mp4", "video/run/run_020.mp4")
    problems = []
    read_published("haa500", root, problems=problems)
    assert [(problem.kind, problem.name) for problem in problems] == [
        ("mislabelled", "run/jump_002"),
        ("mislabelled", "run/run_020"),
    ]
    _, notes = read_published("haa500", root)
    assert any("rows left out as mislabelled: 2 (" in note for note in notes)
    with pytest.raises(ValueError, match="jump_002 is none of run_000 to run_019"):
        read_published("haa500", root, missing="error")


def test_a_models_classes_keep_their_numbers(touch):
    root = touch(*whole("b", "d"))
    found, _ = read_published("haa500", root, splits=["test"], classes=["a", "b", "c", "d"])
    assert found["test"].counts == [0, 3, 0, 3]
    assert len(found["test"].missing) == 6
    assert read_published("haa500", root, splits=["test"], classes=["0", "1"])[0]["test"].classes == ("b", "d")
    with pytest.raises(ValueError, match="2 classes, and the model"):
        read_published("haa500", root, splits=["test"], classes=["0", "1", "2"])


def test_no_such_folders(touch):
    with pytest.raises(FileNotFoundError, match=r"no <class>/<class>_000\.mp4 to _019\.mp4 below .*, and 1 videos"):
        read_published("haa500", touch("run/1.mp4"))
