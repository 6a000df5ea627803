"""python -m taggnn.skeletons: class folders of videos become class folders of skeletons."""

import shutil
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import taggnn.skeletons
from taggnn.data.skeleton.pose import landmarker
from taggnn.data.skeleton.pose.landmarker import NETWORKS, Poses
from taggnn.evaluation.predictions import read_skipped


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A task file, and in MediaPipe's stead a landmarker that finds a body in bright pictures."""
    with zipfile.ZipFile(tmp_path / "pose.task", "w") as archive:
        for name in NETWORKS:
            archive.writestr(name, b"")
    opened = []

    @contextmanager
    def fake(file, persons, confidence):
        opened.append((file, persons, confidence))

        def find(picture, milliseconds):
            body = torch.rand(1, 33, 3, generator=torch.Generator().manual_seed(int(picture.mean()))) * 20
            return Poses(body[..., :2], body, torch.ones(1, 33))

        yield find

    monkeypatch.setattr(landmarker, "mediapipe_landmarker", fake)
    monkeypatch.setattr(landmarker, "import_mediapipe", lambda: None)
    return tmp_path / "pose.task", opened


def files(folder, ending=".npz"):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob(f"*{ending}"))


def test_class_folders_stay_and_bad_videos_are_named(videos, task, program, tmp_path):
    out, drawn = tmp_path / "out", tmp_path / "drawn"
    words = [videos, "--task", task[0], "--out", out, "--overlay", drawn, "--verbose", "true"]
    ended = program(taggnn.skeletons, *words)
    assert ended.code == 1, ended.err
    good = [path for path in files(videos, ".mp4") if "/a_" not in path]
    assert files(out) == [path.replace(".mp4", ".npz") for path in good]
    assert files(drawn, ".mp4") == good
    with np.load(out / "train/left/left_000.npz", allow_pickle=False) as held:
        assert held["coordinates"].shape == (1, 8, 25, 3)
    bad = {row.name: row.reason for row in read_skipped(out / "skipped.csv")}
    assert len(bad) == 15
    assert "empty" in bad["val/clockwise/a_empty.npz"]
    assert "truncated" in bad["test/clockwise/a_truncated.npz"]
    assert "found     a body in 256 of 256 frames" in ended.out
    assert "train/left/left_000.npz: a body in 8 of 8 frames; 1 person (8)" in ended.out
    assert "and 10 more" in ended.out
    # Nothing is left to do but the bad ones.
    task[1].clear()
    assert program(taggnn.skeletons, *words).code == 1
    assert task[1] == []


def test_an_interrupted_extraction_ends_with_the_same_bytes(videos, task, program, tmp_path, monkeypatch):
    root = tmp_path / "videos"
    shutil.copytree(videos / "val" / "left", root / "left")
    shutil.copytree(videos / "test" / "right", root / "right")
    words = [root, "--task", task[0], "--skeleton", "coco"]
    program(taggnn.skeletons, *words, "--out", tmp_path / "whole")
    write, written = taggnn.skeletons.extraction.write, []

    def interrupted(*given):
        if written:
            raise KeyboardInterrupt
        written.append(write(*given))

    with monkeypatch.context() as patched:
        patched.setattr(taggnn.skeletons.extraction, "write", interrupted)
        ended = program(taggnn.skeletons, *words, "--out", tmp_path / "parts")
    assert ended.code == 130
    assert "the same command resumes from here" in ended.err
    assert len(files(tmp_path / "parts")) == 1
    ended = program(taggnn.skeletons, *words, "--out", tmp_path / "parts")
    assert ended.code == 0, ended.err
    assert "; 1 are done already" in ended.out
    assert files(tmp_path / "parts") == files(tmp_path / "whole") == ["left/left_000.npz", "right/right_000.npz"]
    for name in files(tmp_path / "whole"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_single_files_and_options_reach_the_landmarker(videos, task, program, tmp_path):
    clip = videos / "val" / "left" / "left_000.mp4"
    words = [
        clip,
        "--task",
        task[0],
        "--out",
        tmp_path / "out",
        "--persons",
        3,
        "--confidence",
        0.25,
        "--skeleton",
        "coco",
    ]
    assert program(taggnn.skeletons, *words).code == 0
    assert task[1] == [(task[0], 3, 0.25)]
    with np.load(tmp_path / "out" / "left_000.npz", allow_pickle=False) as held:
        assert held["coordinates"].shape[2:] == (17, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{videos}", "--out", "{out}"], "missing: --task"),
        (["{videos}", "--task", "nowhere.task", "--out", "{out}"], "https://storage.googleapis.com/mediapipe-models"),
        (["nowhere", "--task", "{task}", "--out", "{out}"], "nowhere: no such file or folder"),
        (["{empty}", "--task", "{task}", "--out", "{out}"], "no video in it"),
        (["{videos}", "--task", "{task}", "--out", "{out}", "--skeleton", "hand"], "unknown skeleton 'hand'"),
        (["{videos}", "--task", "{task}", "--out", "{out}", "--skeleton", "ntu25"], "did you mean 'ntu'"),
        (["{videos}", "--task", "{task}", "--out", "{out}", "--persons", "0"], "--persons 0: must be 1 or more"),
        (["{videos}", "--task", "{task}", "--out", "{out}", "--confidence", "2"], "--confidence 2.0: must be"),
        (["{videos}", "--task", "{task}", "--out", "{out}", "--short_side", "0"], "--short_side 0"),
        (["{videos}", "--task", "{task}", "--out", "{out}", "--coordinates", "feet"], "expected metres or pixels"),
        (["{videos}", "--task", "{task}", "--out", "{out}", "--overlay", "{videos}/drawn"], "whose videos are read"),
        (["{videos}/val", "{videos}/test", "{same}", "--task", "{task}", "--out", "{out}"], "would both become"),
    ],
)
def test_a_mistake_is_one_sentence(words, message, videos, task, program, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "same" / "left").mkdir(parents=True)
    for ending in (".mp4", ".mkv"):
        shutil.copy(videos / "val" / "left" / "left_000.mp4", tmp_path / "same" / "left" / f"left_000{ending}")
    there = {
        "videos": videos,
        "out": tmp_path / "out",
        "task": task[0],
        "empty": tmp_path / "empty",
        "same": tmp_path / "same",
    }
    ended = program(taggnn.skeletons, *(word.format(**there) for word in words))
    assert ended.code == 2
    assert message in ended.err, ended.err
    assert not (tmp_path / "out").exists()


def test_mediapipe_itself(real_data, program, tmp_path):
    pytest.importorskip("mediapipe")
    file = real_data("pose") / "pose_landmarker_full.task"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    clip = real_data("rgb_two_class") / "train" / "typing" / "typing24.mp4"
    ended = program(taggnn.skeletons, clip, "--task", file, "--out", tmp_path, "--verbose", "true")
    assert ended.code == 0, ended.err
    with np.load(tmp_path / "typing24.npz", allow_pickle=False) as held:
        body = np.isfinite(held["coordinates"]).all((0, 2, 3))
        assert body.mean() > 0.5
        assert (held["confidence"][0][~body] == 0).all()
