"""UCF101 lists."""

import pytest

from taggnn.data.published import read_published

CLASSES = {"ucfTrainTestlist/classInd.txt": "1 ApplyEyeMakeup\n2 ApplyLipstick\n\n"}
TRAIN = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\nApplyLipstick/v_ApplyLipstick_g08_c01.avi 2\r\n"
TEST = "ApplyLipstick/v_ApplyLipstick_g01_c01.avi\n"


@pytest.fixture
def root(touch):
    lists = {f"ucfTrainTestlist/{name}list02.txt": text for name, text in (("train", TRAIN), ("test", TEST))}
    videos = [f"UCF-101/{line.split()[0]}" for line in (TRAIN + TEST).splitlines()]
    return touch(*videos, **lists, **CLASSES)


def test_a_numbered_split(root):
    found, notes = read_published("ucf101", root, version="2")
    assert [(clip.name, clip.label) for clip in found["train"]] == [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", 0),
        ("ApplyLipstick/v_ApplyLipstick_g08_c01.avi", 1),
    ]
    assert [clip.label for clip in found["test"]] == [1]
    assert notes[0].startswith(
        "ucf101 split2: train 2 listed of 9,586 published, 2 found (100 %); test 1 listed of 3,734"
    )
    with pytest.raises(FileNotFoundError, match=r"ucf101 split1: no trainlist01\.txt"):
        read_published("ucf101", root)


def test_wrong_rows(root):
    (root / "ucfTrainTestlist/trainlist02.txt").write_text(TRAIN.replace(".avi 2", ".avi 1") + "Run/v_1.avi 3\n")
    problems = []
    read_published("ucf101", root, version="split2", problems=problems)
    assert [(problem.kind, problem.line) for problem in problems] == [("mislabelled", 2), ("malformed", 3)]
