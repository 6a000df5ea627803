"""taggnn.data.skeleton.pose.landmarker: task files, and MediaPipe itself where it is installed."""

import sys
import types
import zipfile

import numpy as np
import pytest

from taggnn.data.skeleton.pose import landmarker
from taggnn.data.skeleton.pose.landmarker import NETWORKS, check_task, import_mediapipe, mediapipe_landmarker


def task(path, names=NETWORKS):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"no network")
    return path


def test_a_task_file_is_an_archive_of_two_networks(tmp_path):
    check_task(task(tmp_path / "pose.task"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: path, FileNotFoundError, "no such file"),
        (lambda path: path.write_bytes(b"TFL3" * 9), ValueError, "no task file of MediaPipe"),
        (
            lambda path: task(path, ["hand_detector.tflite"]),
            ValueError,
            "it holds hand_detector.tflite, not pose_detector",
        ),
    ],
    ids=["absent", "one network", "hands"],
)
def test_another_file_is_refused_with_the_address_of_the_right_one(make, error, message, tmp_path):
    make(tmp_path / "x.task")
    with pytest.raises(error, match=message) as found:
        check_task(tmp_path / "x.task")
    assert "https://storage.googleapis.com/mediapipe-models/pose_landmarker/" in str(found.value)


def test_without_mediapipe_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ImportError, match=r"pip install 'taggnn\[pose\]'"):
        import_mediapipe()
    monkeypatch.setitem(sys.modules, "mediapipe", types.SimpleNamespace(__version__="0.10.21"))
    with pytest.raises(ImportError, match="too old"):
        import_mediapipe()


def test_native_messages_are_hidden_and_ours_are_not(capfd):
    import os

    with landmarker._without_native_messages():
        os.write(2, b"hidden")
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


def test_mediapipe_refuses_a_task_without_networks(tmp_path):
    pytest.importorskip("mediapipe")
    with (
        pytest.raises(ValueError, match="MediaPipe cannot use it"),
        mediapipe_landmarker(task(tmp_path / "x.task"), 1, 0.5),
    ):
        pass


def test_mediapipe_finds_nobody_in_a_grey_picture(real_data):
    pytest.importorskip("mediapipe")
    file = real_data("pose") / "pose_landmarker_full.task"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    with mediapipe_landmarker(file, 2, 0.5) as find:
        found = find(np.full((48, 64, 3), 127, np.uint8), 0)
    assert (found.pixels.shape, found.metres.shape, found.visibility.shape) == ((0, 33, 2), (0, 33, 3), (0, 33))
