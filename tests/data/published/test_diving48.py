"""Diving48 V2."""

import json

import pytest

from taggnn.data.published import read_published


def row(name, label):
    return {"vid_name": name, "label": label, "start_frame": 0, "end_frame": 48}


@pytest.fixture
def root(touch):
    lists = {
        "train": [row("-mmq0PT-u8k_00155", 0), row("_tigfCJFLZg_00371", 47)],
        "test": [row("gone_00001", 3), row("zYHstCxnAPA_00361", 3)],
    }
    files = {f"Diving48_V2_{split}.json": json.dumps(rows) for split, rows in lists.items()}
    files["Diving48_vocab.json"] = json.dumps([["Back", "15som", "05Twis", f"FREE{k}"] for k in range(48)])
    return touch(*(f"rgb/{entry['vid_name']}.mp4" for rows in lists.values() for entry in rows), **files)


def test_rows(root):
    (root / "rgb/gone_00001.mp4").unlink()
    found, notes = read_published("diving48", root)
    assert [(clip.name, clip.label, clip.start) for clip in found["train"]] == [
        ("-mmq0PT-u8k_00155", 0, None),
        ("_tigfCJFLZg_00371", 47, None),
    ]
    assert found["test"].missing == ("gone_00001",)
    assert found["test"].classes[47] == "Back 15som 05Twis FREE47"
    assert notes[0] == (
        "diving48 V2: train 2 listed of 15,027 published, 2 found (100 %); test 2 listed of 1,970 published, 1 found (50 %)"
    )


def test_without_the_vocabulary_classes_are_numbers(root):
    (root / "Diving48_vocab.json").unlink()
    found, notes = read_published("diving48", root)
    assert found["train"].classes == tuple(map(str, range(48)))
    assert any("the classes are named by their numbers" in note for note in notes)


@pytest.mark.parametrize(
    "wrong", [row("x", 48), row("x", "1"), row("x", True), {"label": 1}, "x", row(["x"], 1), row(None, 1)]
)
def test_a_wrong_row(root, wrong):
    (root / "Diving48_V2_test.json").write_text(json.dumps([row("zYHstCxnAPA_00361", 3), wrong]))
    problems = []
    assert len(read_published("diving48", root, problems=problems)[0]["test"]) == 1
    assert [(problem.kind, problem.line) for problem in problems] == [("malformed", 2)]


@pytest.mark.parametrize(("text", "message"), [("{", "not a JSON file"), ("{}", "expected a JSON list, found a dict")])
def test_a_file_that_is_no_list(root, text, message):
    (root / "Diving48_V2_test.json").write_text(text)
    with pytest.raises(ValueError, match=rf"Diving48_V2_test\.json: {message}"):
        read_published("diving48", root)


@pytest.mark.parametrize("words", [None, "Back 15som", 7, [], ["Back", 15], [["Back"]]])
def test_a_vocabulary_of_other_things_than_words_is_refused(root, words):
    file = root / "Diving48_vocab.json"
    file.write_text(json.dumps([*json.loads(file.read_text())[:-1], words]))
    with pytest.raises(
        ValueError, match=r"Diving48_vocab\.json, row 48: expected words such as \[\"Back\", \"15som\"\], found"
    ):
        read_published("diving48", root)


def test_a_list_of_which_no_row_can_be_used_says_why(root):
    (root / "Diving48_V2_test.json").write_text(json.dumps([{"label": 1}] * 7))
    with pytest.raises(
        ValueError, match=r"test: .*test\.json has no row that can be used\. .*line 1: expected .*and 2 more"
    ):
        read_published("diving48", root)
    (root / "Diving48_V2_test.json").write_text(json.dumps([row("none", 1), {"label": 1}]))
    with pytest.raises(
        FileNotFoundError, match=r"none of the 1 clips .*such as none; .*Rows that cannot be used: line 2"
    ):
        read_published("diving48", root)
    (root / "Diving48_V2_test.json").write_text("[]")
    with pytest.raises(ValueError, match=r"Diving48_V2_test\.json is empty"):
        read_published("diving48", root)


def test_the_labels_of_version_1_are_not_taken(root):
    (root / "Diving48_V2_train.json").rename(root / "Diving48_train.json")
    with pytest.raises(FileNotFoundError, match=r"no Diving48_V2_train\.json below .*Diving48_train\.json"):
        read_published("diving48", root)
