"""Something-Something V2."""

import json

import pytest

from taggnn.data.published import read_published

LABELS = {"Pushing something": "1", "Holding something next to something": "0"}
ROWS = [
    {"id": "78687", "label": "holding potato next to bottle", "template": "Holding [something] next to [something]"},
    {"id": "100", "label": "pushing a pen", "template": "Pushing [something]"},
]


@pytest.mark.parametrize("begin", ["something-something-v2-", ""])
def test_both_published_names(touch, begin):
    root = touch(
        "20bn-something-something-v2/78687.webm",
        "20bn-something-something-v2/100.webm",
        **{f"labels/{begin}{name}.json": json.dumps(ROWS) for name in ("train", "validation")},
        **{f"labels/{begin}labels.json": json.dumps(LABELS)},
    )
    found, notes = read_published("ssv2", root)
    assert found["train"].classes == ("Holding something next to something", "Pushing something")
    assert [(clip.name, clip.label) for clip in found["val"]] == [("78687", 0), ("100", 1)]
    assert "2 classes were found; ssv2 v2 has 174" in notes


def test_wrong_rows(touch):
    rows = [*ROWS, {"id": "5", "template": "Eating [something]"}, {"id": "6"}]
    rows += [{"id": ["7"], "template": "Pushing [x]"}, {"id": "8", "template": None}, {"template": "Pushing [x]"}]
    files = {"train.json": json.dumps(rows), "labels.json": json.dumps(LABELS)}
    problems = []
    read_published("ssv2", touch("100.webm", **files), splits=["train"], problems=problems)
    assert [(problem.kind, problem.name) for problem in problems] == [
        ("mislabelled", "5"),
        ("malformed", "6"),
        ("malformed", "['7']"),
        ("malformed", "8"),
        ("malformed", "None"),
        ("missing", "78687"),
    ]
    with pytest.raises(
        FileNotFoundError, match=r"ssv2: no something-something-v2-validation\.json or validation\.json"
    ):
        read_published("ssv2", touch())


def test_labels_that_are_not_0_to_n(touch):
    files = {"train.json": json.dumps(ROWS), "labels.json": json.dumps({"Pushing something": "2"})}
    with pytest.raises(ValueError, match="are not the numbers 0 to 0"):
        read_published("ssv2", touch("100.webm", **files), splits=["train"])
